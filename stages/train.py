"""Fit the network to data/prepared, keep the epoch that does best on val: models/model.safetensors."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from retinanet import distributed
from retinanet.config.params import load_params
from retinanet.config.settings import Params
from retinanet.dataset.coco import read_coco
from retinanet.errors import exit_on_error
from retinanet.files import new_folder, repo_root, sha256_of, write_text
from retinanet.images.preprocess import InputSize
from retinanet.images.tiles import Tiling
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import TrainedModel, save_model
from retinanet.runtime import best_device, keep_freed_memory
from retinanet.tracking.registered_weights import resolve_weights
from retinanet.tracking.runs import Run, start_run, write_run_file
from retinanet.training.checkpoint import discard_old, fingerprint, lock_folder
from retinanet.training.fit import Epoch, TrainingSets, fit
from retinanet.training.launch import launch
from retinanet.training.process import StopSignal, stop_with_starter
from retinanet.training.start import starting_model
from stages import paths

CODE = Path(__file__).parents[1]
# The rooms that make a step what it is: a checkpoint of other code is not resumed.
ROOMS = ("dataset", "images", "inference", "model", "training")


@exit_on_error
def main() -> int | None:
    params = load_params(paths.PARAMS)
    is_one_of_several = distributed.is_started()
    stop_with_starter(is_one_of_several)
    if params.runtime.processes > 1 and not is_one_of_several:
        return launch("stages.train", params.runtime.processes)
    # A launcher passes on what a terminal has sent to all already.
    stop = StopSignal(second_ends=not is_one_of_several)
    keep_freed_memory()
    sets = TrainingSets(read_coco(paths.TRAIN_JSON), read_coco(paths.VAL_JSON))
    with distributed.process_group() as here:
        with resolve_weights(params.model.weights) as weights:
            packaged = {params.download.weights.backbone: paths.WEIGHTS / Path(params.download.weights.member).name}
            class_names = sets.train.class_names
            model, loaded = starting_model(params.model, params.train.seed, class_names, weights, packaged)
        folder = repo_root() / paths.CHECKPOINTS / _fingerprint(params, model)
        if here.rank:
            for _ in _fit(model, sets, params, folder, stop):
                pass
            return None
        print(f"train: {params.train.epochs} epochs over {len(sets.train.images)} images on {best_device()}")
        for line in loaded:
            print(f"train: {line}", flush=True)
        with lock_folder(folder):
            discarded, others = discard_old(folder)
            for names, fate in ((discarded, "discarded"), (others, "not used")):
                if names:
                    print(f"train: {fate}: {', '.join(names)}, checkpoints of other params, data or code")
            _train(model, sets, params, folder, stop)
            # Only after the stage's outputs exist: until then, an interrupted stage resumes from this folder.
            shutil.rmtree(folder)
    return None


def _fit(model: RetinaNet, sets: TrainingSets, params: Params, folder: Path, stop: StopSignal) -> Iterator[Epoch]:
    cache = repo_root() / paths.IMAGE_CACHE if params.runtime.cache_images else None
    return fit(model, sets, params.train, params.runtime, _input_size(params), best_device(), folder, cache, stop)


def _input_size(params: Params) -> InputSize:
    return InputSize(params.model.short_side, params.model.long_side)


def _train(model: RetinaNet, sets: TrainingSets, params: Params, folder: Path, stop: StopSignal) -> None:
    progress = Progress(folder)
    tiling = Tiling(params.prepare.tile_size, params.prepare.tile_overlap)
    trained = TrainedModel(model, sets.train.class_names, sets.train.category_ids, _input_size(params), tiling)
    with start_run(params.tracking.experiment, resume_run_id=progress.run_id()) as run:
        progress.keep_run_id(run.id)
        _describe(run, params, sets)
        for epoch in _fit(model, sets, params, folder, stop):
            run.log_metrics(epoch.metrics, step=epoch.number)
            progress.add(epoch)
            if epoch.is_best:
                save_model(progress.best, trained, epoch.weights)
            print(_line(epoch, params.train.epochs), flush=True)
        paths.MODEL.parent.mkdir(exist_ok=True)
        shutil.copy(progress.best, paths.MODEL)
        write_run_file(paths.RUN, run, sha256_of(progress.best))
        # For model.weights: models:/...; the registry itself has the exported model only.
        run.log_artifact(paths.MODEL, "model")
        table = progress.table()
        validated = table[table["val/AP50"].notna()]
        with new_folder(paths.TRAIN_REPORT) as report:
            trained_columns = [column for column in table.columns if not column.startswith("val/")]
            table[trained_columns].to_csv(report / "history.csv", index=False)
            validated.dropna(axis="columns").to_csv(report / "validation.csv", index=False)
        run.log_artifacts(paths.TRAIN_REPORT, "train")
    best = validated.sort_values("val/AP", kind="stable").iloc[-1]  # the later of equals is kept
    print(
        f"train: {paths.MODEL}: epoch {best['epoch']:.0f}, val AP50 {best['val/AP50']:.3f} AP {best['val/AP']:.3f}; "
        f"curves in {paths.TRAIN_REPORT}"
    )


@dataclass(frozen=True)
class Progress:
    """What the stage itself keeps beside the checkpoints, to go on in the same run with the same history."""

    folder: Path

    @property
    def best(self) -> Path:
        return self.folder / "best.safetensors"

    @property
    def history(self) -> Path:
        return self.folder / "history.csv"

    def run_id(self) -> str | None:
        path = self.folder / "run_id"
        return path.read_text() if path.exists() else None

    def keep_run_id(self, run_id: str) -> None:
        write_text(self.folder / "run_id", run_id)

    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.history) if self.history.exists() else pd.DataFrame({"epoch": []})

    def add(self, epoch: Epoch) -> None:
        table = self.table()
        # An epoch whose checkpoint was not written any more is run again.
        earlier = table[table["epoch"] < epoch.number]
        rows = [*earlier.to_dict("records"), {"epoch": epoch.number, **epoch.metrics}]
        write_text(self.history, pd.DataFrame(rows).to_csv(index=False))


def _fingerprint(params: Params, model: RetinaNet) -> str:
    code = [path for room in ROOMS for path in (CODE / "retinanet" / room).rglob("*.py")]
    code += [CODE / "retinanet/distributed.py", CODE / "retinanet/evaluation/validate.py", Path(__file__)]
    data = [paths.TRAIN_JSON, paths.VAL_JSON, paths.IMAGE_INDEX]
    settings = {"model": params.model.model_dump(), "train": params.train.model_dump()}
    settings["tiling"] = params.prepare.model_dump(include={"tile_size", "tile_overlap"})
    return fingerprint(settings, code + data, model.state_dict())


def _describe(run: Run, params: Params, sets: TrainingSets) -> None:
    run.log_system_metrics()
    run.log_params(_flat({"model": params.model.model_dump(), "train": params.train.model_dump()}))
    name = params.download.source_name()
    _log_data_report(run)
    for context, split, dataset in (("training", "train", sets.train), ("validation", "val", sets.val)):
        sizes = {"images": len(dataset.images), "objects": sum(o.count for o in dataset.objects.values())}
        digest = sha256_of(paths.split_json(split))
        run.log_dataset(f"{Path(name).name} {split}", digest, name, context, sizes)


def _log_data_report(run: Run) -> None:
    """Log the page of the data if it is of this data; training does not wait for it."""
    path = paths.DATA_REPORT / "statistics.json"
    if path.exists():
        of_data = json.loads(path.read_text(encoding="utf-8")).get("prepared", {})
        if all(of_data.get(split) == sha256_of(paths.split_json(split)) for split in ("train", "val", "test")):
            run.log_artifacts(paths.DATA_REPORT, "data")


def _flat(tree: dict, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _line(epoch: Epoch, epochs: int) -> str:
    metrics = epoch.metrics
    line = f"train: epoch {epoch.number}/{epochs} in {metrics['seconds']:.0f} s, loss {metrics['train/loss']:.3f}"
    if "val/AP50" in metrics:
        line += f", val AP50 {metrics['val/AP50']:.3f} AP {metrics['val/AP']:.3f}" + (", best" if epoch.is_best else "")
    return f"{line}, about {metrics['seconds'] * (epochs - epoch.number) / 60:.0f} min left"


if __name__ == "__main__":
    main()
