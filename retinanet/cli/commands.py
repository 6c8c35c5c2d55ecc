"""What each command of `retinanet` does with its arguments; each returns the exit code.

torch and MLflow take seconds to import, so each command imports what it needs.
"""

import json
from argparse import Namespace
from pathlib import Path

from retinanet.errors import TrackingError

REFUSED = 3
REGISTERED = Path("models/registered.json")
EVALUATION = Path("reports/evaluate/evaluation.json")
TRAIN, TEST = Path("data/prepared/train.json"), Path("data/prepared/test.json")


def predict(arguments: Namespace) -> int:
    from retinanet.cli.predict import model_path, named_pictures, predict_pictures
    from retinanet.inference.detector import DecodeSettings, load_detector

    pictures = named_pictures(arguments.pictures)
    with model_path(arguments.model) as path:
        print(f"model: {arguments.model or path}", flush=True)
        detector = load_detector(path, DecodeSettings())
        failed = predict_pictures(detector, pictures, arguments.out, arguments.score)
    unread = f", {failed} can't be read" if failed else ""
    print(f"{len(pictures) - failed} of {len(pictures)} pictures answered{unread}: {arguments.out / 'detections.json'}")
    return 1 if failed else 0


def promote(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking import promotion
    from retinanet.tracking.remeasure import measure_version
    from retinanet.tracking.store import open_client

    params = load_params()
    version = arguments.version or _workspace_version(params.tracking.model_name)
    if version is None:
        raise TrackingError(f"{REGISTERED} names no version; `dvc repro` makes one, or name one with --version")
    # What can be measured here is measured under today's digest; without a test set only equal digests compare.
    can_measure = EVALUATION.exists() and TEST.exists()
    decision = promotion.promote(
        params.tracking.model_name,
        version,
        promotion.Gate(params.promote.metric, params.promote.floor, params.promote.min_gain),
        json.loads(EVALUATION.read_text(encoding="utf-8"))["digest"] if can_measure else None,
        (lambda v: measure_version(open_client(), v, TEST, params.promote.metric)) if can_measure else None,
        dry_run=arguments.dry_run,
        allow_dirty=arguments.allow_dirty,
    )
    print(f"{'accepted' if decision.accepted else 'refused'}: {decision.reason}")
    return 0 if decision.accepted else REFUSED


def rollback(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking import promotion

    decision = promotion.rollback(load_params().tracking.model_name)
    print(f"{'done' if decision.accepted else 'refused'}: {decision.reason}")
    return 0 if decision.accepted else REFUSED


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
    from retinanet.tracking.registered_weights import weights_at_hand
    from retinanet.training.check import learn_by_heart, try_learning_rates
    from retinanet.training.process import best_device, keep_freed_memory
    from retinanet.training.start import starting_model

    keep_freed_memory()
    params = load_params()
    dataset = read_coco(TRAIN)
    with weights_at_hand(params.model.weights) as weights:
        start, again = (starting_model(params, dataset.class_names, weights) for _ in range(2))
    model, said = start
    print("\n".join(said), flush=True)
    found = learn_by_heart(model, dataset, Path(), params.train, best_device(), arguments.steps)
    learnt = found.ap50 >= 0.5 or found.last_loss < found.first_loss / 5
    print(
        f"{len(found.pictures)} pictures, {arguments.steps} steps on them alone: loss {found.first_loss:.3f} -> "
        f"{found.last_loss:.3f}, AP50 on them {found.ap50:.2f}: "
        + ("data and model fit together" if learnt else f"NOT learnt; look at {', '.join(found.pictures)}"),
        flush=True,
    )
    rates = try_learning_rates(again[0], dataset, Path(), params.train, best_device(), arguments.steps)
    print(
        f"learning rates {rates.rates[0]:.0e} to {rates.rates[-1]:.0e}: loss least near {rates.suggested * 10:.1e}; "
        f"take about {rates.suggested:.0e} (train.learning_rate is {params.train.learning_rate:g})"
    )
    return 0 if learnt else 1


def preset(arguments: Namespace) -> int:
    from retinanet.config.presets.apply import preset_changes, write_preset

    changes = preset_changes(arguments.name, arguments.params)
    for key, old, new in changes:
        print(f"{key}: {old} -> {new}")
    if not changes:
        print(f"{arguments.params} says what {arguments.name} says")
    elif arguments.write:
        write_preset(arguments.name, arguments.params)
        print(f"{len(changes)} settings written into {arguments.params}")
    else:
        print(f"nothing is written; `retinanet preset {arguments.name} --write` puts these into {arguments.params}")
    return 0


def fit_anchors(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.data_report.coverage import AnchorSettings
    from retinanet.data_report.propose import proposal_text, propose_anchors, write_proposal

    model = load_params(arguments.params).model
    sizes, ratios = tuple(model.anchors.sizes), tuple(model.anchors.ratios)
    present = AnchorSettings(sizes, model.anchors.scales_per_octave, ratios, model.anchors.convention)
    proposal = propose_anchors(TRAIN, present, model.short_side, model.long_side)
    print(proposal_text(proposal))
    if proposal.fitted != present:
        if arguments.write:
            write_proposal(proposal, arguments.params)
        print(
            f"{'written into' if arguments.write else 'nothing is written; --write puts them into'} {arguments.params}"
        )
    return 0


def replay_step(arguments: Namespace) -> int:
    from retinanet.training import replay

    pictures, blame = replay.replay_step(arguments.file)
    print(f"pictures {pictures}")
    for level, (classification, box) in blame.losses.items():
        print(f"{level}: classification loss {classification:.4g}, box loss {box:.4g}")
    for part, norm in blame.gradient_norms.items():
        print(f"{part}: gradient norm {norm:.4g}")
    return 0


def _workspace_version(model_name: str) -> int | None:
    """The version that this workspace's `export` registered."""
    if not REGISTERED.exists():
        return None
    content = json.loads(REGISTERED.read_text(encoding="utf-8"))
    return int(content["version"]) if content["name"] == model_name else None
