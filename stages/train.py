"""Fit the network to data/prepared, keep the epoch that does best on val: models/model.safetensors."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from retinanet import distributed
from retinanet.config.params import load_params
from retinanet.config.settings import Params
from retinanet.dataset.coco import CocoDataset, read_coco
from retinanet.errors import exit_on_error
from retinanet.files import home, new_folder, sha256_of, write_text
from retinanet.images.tiles import Tiling
from retinanet.inference.detector import DecodeSettings
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import save_model
from retinanet.tracking.registered_weights import weights_at_hand
from retinanet.tracking.runs import Run, start_run, write_run_file
from retinanet.training.checkpoint import discard_old, fingerprint, lock_folder
from retinanet.training.fit import Epoch, fit
from retinanet.training.process import StopSignal, best_device, keep_freed_memory, stop_with_starter
from retinanet.training.start import starting_model

PREPARED = Path("data/prepared")
MODELS, REPORT = Path("models"), Path("reports/train")
DATA_REPORT = Path("reports/data")
CODE = Path(__file__).parents[1] / "retinanet"


class Sets(NamedTuple):
    """What is learnt from, and what tells which epoch is the best."""

    train: CocoDataset
    val: CocoDataset


@exit_on_error
def main() -> int | None:
    params = load_params()
    is_one_of_several = distributed.is_started()
    stop_with_starter(is_one_of_several)
    if params.train.processes > 1 and not is_one_of_several:
        return distributed.launch("stages.train", params.train.processes)
    # A launcher passes on what a terminal has sent to all already.
    stop = StopSignal(second_ends=not is_one_of_several)
    keep_freed_memory()
    sets = Sets(*(read_coco(PREPARED / f"{split}.json") for split in ("train", "val")))
    with distributed.joined() as here:
        with weights_at_hand(params.model.weights) as weights:
            model, said = starting_model(params, sets.train.class_names, weights)
        folder = home() / ".cache/training" / _fingerprint(params, model)
        if here.rank:
            for _ in fit(model, *sets, Path(), params.train, DecodeSettings(), best_device(), folder, stop):
                pass
            return None
        print(f"train: {params.train.epochs} epochs over {len(sets.train.pictures)} pictures on {best_device()}")
        for line in said:
            print(f"train: {line}", flush=True)
        with lock_folder(folder):
            discarded, others = discard_old(folder)
            for names, fate in ((discarded, "discarded"), (others, "not used")):
                if names:
                    print(f"train: {fate}: {', '.join(names)}, left by trainings of other params, data or code")
            _train(model, sets, params, folder, stop)
            # Only once the stage's outputs stand: until then, what lies here is what an interrupted stage goes on from.
            shutil.rmtree(folder)
    return None


def _train(model: RetinaNet, sets: Sets, params: Params, folder: Path, stop: StopSignal) -> None:
    progress = Progress(folder)
    with start_run(params.tracking.experiment, resume_run_id=progress.run_id()) as run:
        progress.keep_run_id(run.id)
        _describe(run, params, sets)
        classes = dict(zip(sets.train.category_ids, sets.train.class_names, strict=True))
        tiling = Tiling(params.prepare.tile_size, params.prepare.tile_overlap)
        for epoch in fit(model, *sets, Path(), params.train, DecodeSettings(), best_device(), folder, stop):
            run.log_metrics(epoch.metrics, step=epoch.number)
            progress.add(epoch)
            if epoch.is_best:
                save_model(progress.best, model, epoch.weights, classes, tiling)
            print(_line(epoch, params.train.epochs), flush=True)
        MODELS.mkdir(exist_ok=True)
        shutil.copy(progress.best, MODELS / "model.safetensors")
        write_run_file(MODELS / "run.json", run, sha256_of(progress.best))
        # What model.weights: models:/... goes on from; the registry itself has the exported model alone.
        run.log_artifact(MODELS / "model.safetensors", "model")
        table = progress.table()
        validated = table[table["val/AP50"].notna()]
        with new_folder(REPORT) as report:
            trained = [column for column in table.columns if not column.startswith("val/")]
            table[trained].to_csv(report / "history.csv", index=False)
            validated.dropna(axis="columns").to_csv(report / "validation.csv", index=False)
        run.log_artifacts(REPORT, "train")
    best = validated.sort_values("val/AP", kind="stable").iloc[-1]  # the later of equals is kept
    figures = f"epoch {best['epoch']:.0f} with val AP50 {best['val/AP50']:.3f} AP {best['val/AP']:.3f}"
    print(f"train: {MODELS / 'model.safetensors'} made, {figures}; curves in {REPORT}")


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
    code = [path for room in ("data", "model", "training") for path in (CODE / room).glob("*.py")]
    code += [CODE / "detector.py", CODE / "evaluation/coco_metrics.py", Path(__file__)]
    data = [PREPARED / "train.json", PREPARED / "val.json", PREPARED / "index.json"]
    settings = {"model": params.model.model_dump(), "train": params.train.model_dump()}
    settings["tiling"] = params.prepare.model_dump(include={"tile_size", "tile_overlap"})
    return fingerprint(settings, code + data, model.state_dict())


def _describe(run: Run, params: Params, sets: Sets) -> None:
    run.log_system_metrics()
    run.log_artifacts(DATA_REPORT, "data")
    run.log_params(_flat({"model": params.model.model_dump(), "train": params.train.model_dump()}))
    download = params.download
    name = {
        "package": f"{download.package.name} {download.package.version}",
        "archive": download.archive.url,
        "folder": download.folder.path,
        "dvc": f"{download.dvc.repo} {download.dvc.path}",
    }.get(download.source, download.source)
    for context, split, dataset in (("training", "train", sets.train), ("validation", "val", sets.val)):
        path = PREPARED / f"{split}.json"
        figures = {"pictures": len(dataset.pictures), "objects": sum(o.count for o in dataset.objects.values())}
        run.log_dataset(f"{Path(name).name} {split}", sha256_of(path), name, context, figures)


def _flat(tree: dict, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _line(epoch: Epoch, epochs: int) -> str:
    figures = epoch.metrics
    line = f"train: epoch {epoch.number}/{epochs} in {figures['seconds']:.0f} s, loss {figures['train/loss']:.3f}"
    if "val/AP50" in figures:
        line += f", val AP50 {figures['val/AP50']:.3f} AP {figures['val/AP']:.3f}" + (", best" if epoch.is_best else "")
    return f"{line}, about {figures['seconds'] * (epochs - epoch.number) / 60:.0f} min left"


if __name__ == "__main__":
    main()
