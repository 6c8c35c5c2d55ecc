"""Commands about training."""

from argparse import Namespace
from pathlib import Path

from retinanet.cli.workspace import workspace_paths


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


def check_training(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.dataset.coco import read_coco
    from retinanet.images.preprocess import InputSize
    from retinanet.preflight.training import Trial, lr_range_test, overfit_batch
    from retinanet.prepare.decisions import read_decisions
    from retinanet.runtime import chosen_device, keep_freed_memory
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
    trial = Trial(
        dataset, Path(), settings, params.runtime, input_size, chosen_device(params.runtime.device), arguments.steps
    )
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


def sweep(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.files import repo_root
    from retinanet.sweep.run import Sweep
    from retinanet.sweep.space import DEFAULT_SPACE, read_space
    from retinanet.sweep.study import StudySource

    paths = workspace_paths()
    params = load_params(paths.PARAMS)
    space = read_space(arguments.space or DEFAULT_SPACE, params)
    storage = arguments.storage or f"sqlite:///{(repo_root() / paths.STUDIES).resolve()}"
    source = StudySource(arguments.study, storage, arguments.lost_after, arguments.pruner)
    for line in Sweep(source, arguments.trials, space, params, workspace_paths).run(arguments.workers):
        print(f"sweep: {line}")
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
