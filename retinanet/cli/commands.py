"""The commands of `retinanet`, as functions of their arguments that return the exit code.

Each imports what it needs itself: torch and MLflow take seconds to import, and `predict` works without them.
"""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from retinanet.cli.workspace import in_workspace, workspace_paths
from retinanet.errors import TrackingError, first_of

if TYPE_CHECKING:
    from retinanet.inference.detections import DecodeSettings

EXIT_REFUSED, EXIT_UNDECIDED = 3, 4


def predict(arguments: Namespace) -> int:
    from retinanet.cli.inputs import find_images, model_path, relative_names
    from retinanet.cli.predict import predict_images
    from retinanet.cli.result_files import ResultFiles, new_out_folder
    from retinanet.cli.suppression import suppress_across_classes
    from retinanet.cli.written_formats import check_names
    from retinanet.export.runtimes import load_detector
    from retinanet.inference.detections import STANDARD_DECODING, Detections

    def select(detections: Detections) -> Detections:
        above = detections.above(arguments.score)
        return above if arguments.agnostic_nms is None else suppress_across_classes(above, arguments.agnostic_nms)

    out = new_out_folder(arguments.out)
    images = find_images(arguments.images)
    check_names(relative_names(images).values(), arguments.format)
    with model_path(arguments.model) as path:
        print(f"model: {arguments.model or path}", flush=True)
        # An exported model has its decoding settings inside.
        settings = _decoding() if path.suffix == ".safetensors" else STANDARD_DECODING
        detector = load_detector(path, settings)
        results = ResultFiles(out, detector, arguments.format, draw=arguments.draw)
        try:
            predict_images(detector, images, results, select)
        except (KeyboardInterrupt, BrokenPipeError) as stop:
            reason = "stdout was closed: " if isinstance(stop, BrokenPipeError) else ""
            done = f"{results.done} of {len(images)} images processed"
            print(f"{reason}{done}, their results are complete: {out}", file=sys.stderr)
            raise
    if results.failed:
        failed, listed = first_of(results.failed), out / "images.json"
        print(f"error: {len(results.failed)} can't be read (`failed` in {listed}): {failed}", file=sys.stderr)
    print(f"{results.done} of {len(images)} images processed: {out / 'detections.json'}")
    return 1 if results.failed else 0


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
    if arguments.dry_run:
        print(f"nothing is written; without --dry-run, {len(changed)} settings of {paths.PARAMS} change")
        return 0
    write_params(paths.PARAMS, changed)
    print(f"{len(changed)} settings written into {paths.PARAMS}; `dvc repro` runs the pipeline")
    return 0


def promote(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking import promotion
    from retinanet.tracking.comparison import Gate
    from retinanet.tracking.remeasure import measure_version
    from retinanet.tracking.store import open_client

    params, paths = load_params(), workspace_paths()
    version = arguments.version
    if version is None:
        version = _workspace_version(params.tracking.model_name)
    if version is None:
        raise TrackingError(
            f"{paths.REGISTERED}: no version of {params.tracking.model_name}; run `dvc repro`, or use --version"
        )
    # Without a test set here, only versions with the same evaluation digest can be compared.
    can_measure = paths.EVALUATION_DIGEST.exists() and paths.TEST_JSON.exists()
    decision = promotion.promote(
        params.tracking.model_name,
        version,
        Gate(**params.promote.gate()),
        json.loads(paths.EVALUATION_DIGEST.read_text(encoding="utf-8"))["digest"] if can_measure else None,
        (lambda v: measure_version(open_client(), v, paths.TEST_JSON, params.promote.metric)) if can_measure else None,
        dry_run=arguments.dry_run,
        allow_dirty=arguments.allow_dirty,
    )
    print(f"{'accepted' if decision.accepted else 'refused'}: {decision.reason}")
    if decision.undecided:
        return EXIT_UNDECIDED
    return 0 if decision.accepted else EXIT_REFUSED


def rollback(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking import promotion

    decision = promotion.rollback(load_params().tracking.model_name)
    print(f"{'done' if decision.accepted else 'refused'}: {decision.reason}")
    return 0 if decision.accepted else EXIT_REFUSED


def status(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking.status import status_text

    params = load_params()
    name = params.tracking.model_name
    print(status_text(name, params.promote.metric, _workspace_version(name)))
    return 0


def datasets(arguments: Namespace) -> int:
    from retinanet.fetch.public_sets import public_sets_text

    print(public_sets_text())
    return 0


def check_training(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.dataset.coco import read_coco
    from retinanet.images.preprocess import InputSize
    from retinanet.preflight.training import Trial, lr_range_test, overfit_batch
    from retinanet.prepare.decisions import read_decisions
    from retinanet.runtime import best_device, keep_freed_memory
    from retinanet.tracking.registered_weights import resolve_weights
    from retinanet.training.start import starting_model

    keep_freed_memory()
    params, paths = load_params(), workspace_paths()
    dataset = read_coco(paths.TRAIN_JSON)
    packaged = {params.download.weights.backbone: paths.WEIGHTS / Path(params.download.weights.member).name}
    start = params.model, params.train.seed, dataset.class_names
    with resolve_weights(params.model.weights) as weights:
        (model, messages), (fresh_model, _) = (starting_model(*start, weights, packaged) for _ in range(2))
    print("\n".join(messages), flush=True)
    input_size = InputSize(params.model.short_side, params.model.long_side)
    settings = params.train.for_data(read_decisions(paths.DECISIONS).orientation, len(dataset.images))
    trial = Trial(dataset, Path(), settings, params.runtime, input_size, best_device(), arguments.steps)
    overfit = overfit_batch(model, trial)
    learned = overfit.ap50 >= 0.5 or overfit.last_loss < overfit.first_loss / 5
    print(
        f"{arguments.steps} steps on {len(overfit.images)} images: loss {overfit.first_loss:.3f} -> "
        f"{overfit.last_loss:.3f}, AP50 on these images {overfit.ap50:.2f}: "
        + ("the network learns this data" if learned else f"NOT learned; check {', '.join(overfit.images)}"),
        flush=True,
    )
    rates = lr_range_test(fresh_model, trial)
    print(
        f"learning rates {rates.rates[0]:.0e} to {rates.rates[-1]:.0e}: lowest loss near {rates.suggested * 10:.1e}; "
        f"use about {rates.suggested:.0e} (train.learning_rate is {params.train.learning_rate:g})"
    )
    return 0 if learned else 1


def preset(arguments: Namespace) -> int:
    from retinanet.config.presets.apply import preset_changes, write_preset

    changes = preset_changes(arguments.name, arguments.params)
    for key, old, new in changes:
        print(f"{key}: {old} -> {new}")
    if not changes:
        print(f"{arguments.params} has the settings of {arguments.name} already")
    elif arguments.write:
        write_preset(arguments.name, arguments.params)
        print(f"{len(changes)} settings written into {arguments.params}")
    else:
        print(f"nothing is written; `retinanet preset {arguments.name} --write` writes these to {arguments.params}")
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


def replay_step(arguments: Namespace) -> int:
    from retinanet.training import replay

    image_ids, diagnosis = replay.replay_step(arguments.file)
    print(f"image ids: {image_ids}")
    for level, (classification, box) in diagnosis.losses.items():
        print(f"{level}: classification loss {classification:.4g}, box loss {box:.4g}")
    for part, norm in diagnosis.gradient_norms.items():
        print(f"{part}: gradient norm {norm:.4g}")
    return 0


def _workspace_version(model_name: str) -> int | None:
    """The version that the export stage registered in this workspace."""
    path = workspace_paths().REGISTERED
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return int(content["version"]) if content["name"] == model_name else None


def _decoding() -> "DecodeSettings":
    """The workspace's decoding settings, so that a .safetensors file gives the detections of its exported model."""
    from retinanet.inference.detections import STANDARD_DECODING, DecodeSettings

    if not in_workspace():
        return STANDARD_DECODING
    from retinanet.config.params import load_params

    return DecodeSettings(**load_params(workspace_paths().PARAMS).evaluate.decoding())
