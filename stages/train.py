"""Train the network on data/prepared and keep the epoch that is best on val: models/trained.safetensors."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from retinanet import distributed
from retinanet.config.params import flat, load_params
from retinanet.config.settings import Params
from retinanet.dataset.coco import read_coco
from retinanet.errors import exit_on_error
from retinanet.files import new_folder, repo_root, sha256_of, write_json
from retinanet.images.preprocess import InputSize
from retinanet.images.tiles import Tiling
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import TrainedModel, save_model
from retinanet.prepare.decisions import read_decisions
from retinanet.runtime import chosen_device, keep_freed_memory
from retinanet.tracking.publication import log_training_end, log_training_start
from retinanet.tracking.registered_weights import resolve_weights
from retinanet.tracking.runs import start_run, write_run_file
from retinanet.tracking.sbom import sbom
from retinanet.tracking.training_record import training_record
from retinanet.training.checkpoint import discard_old, lock_folder
from retinanet.training.fingerprint import training_fingerprint
from retinanet.training.fit import Epoch, TrainingSets, fit
from retinanet.training.history import History, epoch_line
from retinanet.training.launch import launch
from retinanet.training.process import StopSignal, stop_with_parent
from retinanet.training.start import starting_model
from stages import paths

REPOSITORY = Path(__file__).parents[1]


@exit_on_error
def main() -> int | None:
    params = load_params(paths.PARAMS)
    decisions = read_decisions(paths.DECISIONS)
    is_one_of_several = distributed.is_started()
    stop_with_parent(is_one_of_several)
    if params.runtime.processes > 1 and not is_one_of_several:
        return launch("stages.train", params.runtime.processes)
    # torchrun repeats a signal that the terminal has already sent to every process.
    stop = StopSignal(second_ends=not is_one_of_several)
    keep_freed_memory()
    with distributed.process_group() as world:
        sets = TrainingSets(read_coco(paths.TRAIN_JSON), read_coco(paths.VAL_JSON))
        train = params.train.for_data(decisions.orientation, len(sets.train.images))
        params = params.model_copy(update={"train": train})
        model, messages = _starting_model(params, sets)
        data = [paths.TRAIN_JSON, paths.VAL_JSON, paths.IMAGE_INDEX, paths.DECISIONS]
        fingerprint = training_fingerprint(params, data, model.state_dict(), REPOSITORY)
        folder = repo_root() / paths.CHECKPOINTS / fingerprint
        if world.rank:
            for _ in _fit(model, sets, params, folder, stop):
                pass
            return None
        print(f"train: {train.epochs} epochs over {len(sets.train.images)} images on {_device(params)}")
        for line in messages:
            print(f"train: {line}", flush=True)
        with lock_folder(folder):
            _discard_old(folder)
            _train(model, sets, params, Tiling(decisions.tile_size, decisions.tile_overlap), folder, stop)
            # Only now that the stage's outputs exist: until then, an interrupted stage resumes from this folder.
            shutil.rmtree(folder)
    return None


def _starting_model(params: Params, sets: TrainingSets) -> tuple[RetinaNet, list[str]]:
    packaged = {params.download.weights.backbone: paths.WEIGHTS / Path(params.download.weights.member).name}
    with resolve_weights(params.model.weights) as weights:
        return starting_model(params.model, params.train.seed, sets.train.class_names, weights, packaged)


def _fit(model: RetinaNet, sets: TrainingSets, params: Params, folder: Path, stop: StopSignal) -> Iterator[Epoch]:
    cache = repo_root() / paths.IMAGE_CACHE if params.runtime.cache_images else None
    return fit(model, sets, params.train, params.runtime, _input_size(params), _device(params), folder, cache, stop)


def _device(params: Params) -> torch.device:
    return chosen_device(params.runtime.device)


def _input_size(params: Params) -> InputSize:
    return InputSize(params.model.short_side, params.model.long_side)


def _discard_old(folder: Path) -> None:
    discarded, others = discard_old(folder)
    for action, names in (("discarded", discarded), ("ignored", others)):
        if names:
            print(f"train: {action} checkpoints of other params, data, code or initial weights: {', '.join(names)}")


def _train(
    model: RetinaNet, sets: TrainingSets, params: Params, tiling: Tiling, folder: Path, stop: StopSignal
) -> None:
    history = History(folder)
    classes = sets.train.class_names, sets.train.category_ids
    trained = TrainedModel(model, *classes, _input_size(params), tiling, reading=sets.train.reading)
    record = _record(params, sets)
    with start_run(params.tracking.experiment, record["name"], history.run_id(), record["description"]) as run:
        history.keep_run_id(run.id)
        run.log_system_metrics()
        log_training_start(run, record, paths)
        for epoch in _fit(model, sets, params, folder, stop):
            run.log_metrics(epoch.metrics, step=epoch.number)
            history.add(epoch)
            if epoch.is_best:
                save_model(history.best_weights, trained, epoch.weights)
            print(f"train: {epoch_line(epoch, params.train.epochs_for(len(sets.train.images)))}", flush=True)
        paths.TRAINED.parent.mkdir(exist_ok=True)
        shutil.copy(history.best_weights, paths.TRAINED)
        write_run_file(paths.RUN, run, sha256_of(paths.TRAINED))
        with new_folder(paths.TRAIN_REPORT) as report:
            history.write_tables(report)
            write_json(report / paths.TRAINING_RECORD.name, record)
            write_json(report / paths.SBOM.name, sbom())
        log_training_end(run, paths)
    best = history.best()
    print(
        f"train: {paths.TRAINED}: epoch {best['epoch']:.0f}, val AP50 {best['val/AP50']:.3f} AP {best['val/AP']:.3f}; "
        f"curves in {paths.TRAIN_REPORT}"
    )


def _record(params: Params, sets: TrainingSets) -> dict[str, Any]:
    settings = flat({"model": params.model.model_dump(), "train": params.train.model_dump()})
    datasets = {"train": sets.train, "val": sets.val}
    return training_record(settings, params.download.source_name(), paths.SPLITS, datasets, _device(params))


if __name__ == "__main__":
    main()
