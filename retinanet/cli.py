"""The command `retinanet`: detect on pictures, and say which version of the model is in production."""

import argparse
import json
from pathlib import Path

from retinanet.errors import TrackingError, exit_on_error

REFUSED = 3
REGISTERED = Path("models/registered.json")
EVALUATION = Path("reports/evaluate/evaluation.json")
TRAIN, TEST = Path("data/prepared/train.json"), Path("data/prepared/test.json")


@exit_on_error
def main() -> int | None:
    """Exit codes: 0 done, 1 an error or an unreadable picture, 2 wrong usage, 3 a promotion refused."""
    arguments = _parser().parse_args()
    return arguments.command(arguments)


# torch and MLflow take seconds to import, so each command imports what it needs, and --help nothing.
def _predict(arguments: argparse.Namespace) -> int:
    from retinanet.detector import DecodeSettings, load_detector
    from retinanet.predict import model_path, named_pictures, predict_pictures

    pictures = named_pictures(arguments.pictures)
    with model_path(arguments.model) as path:
        print(f"model: {arguments.model or path}", flush=True)
        detector = load_detector(path, DecodeSettings())
        failed = predict_pictures(detector, pictures, arguments.out, arguments.score)
    unread = f", {failed} can't be read" if failed else ""
    print(f"{len(pictures) - failed} of {len(pictures)} pictures answered{unread}: {arguments.out / 'detections.json'}")
    return 1 if failed else 0


def _promote(arguments: argparse.Namespace) -> int:
    from retinanet.params import load_params
    from retinanet.tracking.promotion import Gate, promote
    from retinanet.tracking.remeasure import measure_version
    from retinanet.tracking.store import open_client

    params = load_params()
    version = arguments.version or _workspace_version(params.tracking.model_name)
    if version is None:
        raise TrackingError(f"{REGISTERED} names no version; `dvc repro` makes one, or name one with --version")
    # What can be measured here is measured under today's digest; without a test set only equal digests compare.
    can_measure = EVALUATION.exists() and TEST.exists()
    decision = promote(
        params.tracking.model_name,
        version,
        Gate(params.promote.metric, params.promote.floor, params.promote.min_gain),
        json.loads(EVALUATION.read_text(encoding="utf-8"))["digest"] if can_measure else None,
        (lambda v: measure_version(open_client(), v, TEST, params.promote.metric)) if can_measure else None,
        dry_run=arguments.dry_run,
        allow_dirty=arguments.allow_dirty,
    )
    print(f"{'accepted' if decision.accepted else 'refused'}: {decision.reason}")
    return 0 if decision.accepted else REFUSED


def _rollback(arguments: argparse.Namespace) -> int:
    from retinanet.params import load_params
    from retinanet.tracking.promotion import rollback

    decision = rollback(load_params().tracking.model_name)
    print(f"{'done' if decision.accepted else 'refused'}: {decision.reason}")
    return 0 if decision.accepted else REFUSED


def _status(arguments: argparse.Namespace) -> int:
    from retinanet.params import load_params
    from retinanet.tracking.status import status_text

    params = load_params()
    name = params.tracking.model_name
    print(status_text(name, params.promote.metric, _workspace_version(name)))
    return 0


def _datasets(arguments: argparse.Namespace) -> int:
    from retinanet.data.public_sets import public_sets_text

    print(public_sets_text())
    return 0


def _check_training(arguments: argparse.Namespace) -> int:
    from retinanet.data.coco import read_coco
    from retinanet.params import load_params
    from retinanet.tracking.registered_weights import weights_at_hand
    from retinanet.training.check import learn_by_heart, try_learning_rates
    from retinanet.training.process import best_device, keep_freed_memory
    from retinanet.training.start import starting_model

    keep_freed_memory()
    params = load_params()
    dataset = read_coco(TRAIN)
    with weights_at_hand(params.model.weights) as weights:
        start, again = (starting_model(params, len(dataset.class_names), weights) for _ in range(2))
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


def _preset(arguments: argparse.Namespace) -> int:
    from retinanet.presets.apply import preset_changes, write_preset

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


def _fit_anchors(arguments: argparse.Namespace) -> int:
    from retinanet.doctor.coverage import AnchorSettings
    from retinanet.doctor.propose import proposal_text, propose_anchors, write_proposal
    from retinanet.params import load_params

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


def _replay_step(arguments: argparse.Namespace) -> int:
    from retinanet.training.replay import replay_step

    pictures, blame = replay_step(arguments.file)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="retinanet", description="A RetinaNet detector and its versions.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = _command(
        commands,
        "predict",
        _predict,
        "draw the detections on pictures and write them as COCO results",
        "retinanet predict photos/ cat.jpg --model models:/retinanet@production --out found",
    )
    predict.add_argument("pictures", nargs="+", metavar="PICTURE_OR_FOLDER")
    predict.add_argument(
        "--model",
        help="a .onnx or .safetensors file, models:/NAME@ALIAS or models:/NAME/VERSION "
        "(default: models/export/model.onnx, or models/model.safetensors where there is none)",
    )
    predict.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: predictions")
    predict.add_argument("--score", type=_share, default=0.3, help="leave out detections below it (default: 0.3)")

    promote = _command(
        commands,
        "promote",
        _promote,
        "put a version into production if it is good enough (params.yaml, section promote)",
        "retinanet promote --version 4 --dry-run",
    )
    promote.add_argument("--version", type=int, help="default: the version that this workspace made")
    promote.add_argument("--dry-run", action="store_true", help="say what would happen, and move nothing")
    promote.add_argument("--allow-dirty", action="store_true", help="also a version of uncommitted code")

    _command(
        commands, "rollback", _rollback, "put the version back that was in production before", "retinanet rollback"
    )
    _command(commands, "status", _status, "show the versions and which is in production", "retinanet status")
    _command(
        commands, "datasets", _datasets, "list the public sets that download.source knows by name", "retinanet datasets"
    )

    check = _command(
        commands,
        "check-training",
        _check_training,
        "tell in a minute whether data and model fit together, and which learning rate to take",
        "retinanet check-training --steps 60",
    )
    check.add_argument("--steps", type=int, default=40, help="of each of the two trials (default: 40)")

    preset = _command(
        commands,
        "preset",
        _preset,
        "show what a preset (torchvision_v1, torchvision_v2, detectron2) would change in params.yaml, or write it",
        "retinanet preset torchvision_v2 --write",
    )
    preset.add_argument("name", metavar="NAME")
    preset.add_argument("--write", action="store_true", help="put it into the file, which keeps its comments")
    preset.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")

    fit = _command(
        commands,
        "fit-anchors",
        _fit_anchors,
        "propose anchor sizes and ratios for the prepared data, and say what they would reach",
        "retinanet fit-anchors --write",
    )
    fit.add_argument("--write", action="store_true", help="put them into the params file, which keeps its comments")
    fit.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")

    replay = _command(
        commands,
        "replay-step",
        _replay_step,
        "look into a training step whose loss was not finite",
        "retinanet replay-step .cache/training/1f0c7a/failed-step.pt",
    )
    replay.add_argument("file", type=Path)
    return parser


def _command(commands, name: str, run, what: str, example: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.", epilog=f"e.g. {example}")
    parser.set_defaults(command=run)
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not in 0..1")
    return value


if __name__ == "__main__":
    main()
