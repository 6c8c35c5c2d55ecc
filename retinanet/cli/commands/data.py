"""Commands about data."""

from argparse import Namespace

from retinanet.cli.workspace import workspace_paths


def init(arguments: Namespace) -> int:
    from retinanet.config.params import flat, load_params, write_params
    from retinanet.files import repo_root
    from retinanet.recipe.propose import Wishes, propose
    from retinanet.runtime import keep_freed_memory
    from retinanet.tracking.registered_weights import resolve_weights

    keep_freed_memory()
    paths = workspace_paths()
    params = load_params(paths.PARAMS)
    wishes = Wishes(arguments.data, arguments.minutes, arguments.orientation)
    root = repo_root()
    with resolve_weights(params.model.weights) as weights:
        proposal = propose(params, wishes, weights, root, root / paths.DOWNLOAD_CACHE)
    print("\n".join([*proposal.summary, ""]))
    before, changed = flat(params.model_dump()), {}
    for choice in proposal.choices:
        old = before[choice.key]
        if old != choice.value:
            changed[choice.key] = choice.value
        print(f"{choice.key}: {choice.value}{f' (was {old})' if old != choice.value else ''}: {choice.reason}")
    for warning in proposal.warnings:
        print(f"warning: {warning}")
    count = f"{len(changed)} of these {len(proposal.choices)}"
    if arguments.dry_run:
        print(f"nothing is written; without --dry-run, {count} settings of {paths.PARAMS} change")
        return 0
    write_params(paths.PARAMS, changed)
    print(f"{count} settings written into {paths.PARAMS}; `dvc repro` runs the pipeline")
    return 0


def datasets(arguments: Namespace) -> int:
    from retinanet.fetch.public_sets import public_sets_text

    print(public_sets_text())
    return 0


def fit_anchors(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.data_report.coverage import AnchorSettings
    from retinanet.dataset.coco import read_coco
    from retinanet.images.preprocess import InputSize
    from retinanet.preflight.anchors import proposal_text, propose_anchors, write_proposal

    model = load_params(arguments.params).model
    current, train = AnchorSettings(**model.anchors.grid()), read_coco(workspace_paths().TRAIN_JSON)
    proposal = propose_anchors(train, current, InputSize(model.short_side, model.long_side))
    print(proposal_text(proposal))
    if proposal.fitted != current:
        if arguments.write:
            write_proposal(proposal, arguments.params)
        print(f"{'written to' if arguments.write else 'nothing is written; --write writes them to'} {arguments.params}")
    return 0
