"""Trials of other params on shortened runs, measured on val: benchmarks/search_<name>.md.

    uv run python -m benchmarks.search bccd [--seeds 0 1] [--trials 3 4]

Run where data/prepared is what the search is about. Rows that are done stay, so it goes on where it was stopped.
"""

import argparse
import tempfile
from pathlib import Path

import yaml

from retinanet.config.params import load_params, write_params
from retinanet.config.settings import Params
from retinanet.dataset.coco import CocoDataset, read_coco
from retinanet.files import write_text
from retinanet.images.preprocess import InputSize
from retinanet.runtime import best_device, keep_freed_memory
from retinanet.training.fit import TrainingSets, fit
from retinanet.training.start import starting_model
from stages import paths

HEAD = "| other than the first | seed | val AP50 | val AP | seconds a step |\n| --- | --- | --- | --- | --- |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="one of benchmarks/search.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--trials", type=int, nargs="+", help="numbers in the file, from 0; all where none is named")
    arguments = parser.parse_args()
    search = yaml.safe_load(Path("benchmarks/search.yaml").read_text(encoding="utf-8"))[arguments.name]
    table = Path(f"benchmarks/search_{arguments.name}.md")
    keep_freed_memory()
    trials = search["trials"]
    for seed in arguments.seeds:
        for trial in [trials[i] for i in arguments.trials or range(len(trials))]:
            words = ", ".join(f"`{key}={value}`" for key, value in trial.items()) or "nothing"
            start = f"| {words} | {seed} |"
            if start not in _rows(table):
                values = search["base"] | trial | {"train.seed": seed}
                metrics = trained(_params(values), read_coco(paths.TRAIN_JSON))
                row = f"{start} {metrics['val/AP50']:.3f} | {metrics['val/AP']:.3f} | {metrics['step']:.2f} |\n"
                # Read anew: another process may be at the other seeds.
                write_text(table, _rows(table) + row)
                print(row, end="", flush=True)


def _rows(table: Path) -> str:
    return table.read_text(encoding="utf-8") if table.exists() else HEAD


def _params(values: dict[str, object]) -> Params:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(Path("params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
        write_params(path, values | {"train.validate_every": values["train.epochs"]})
        return load_params(path)


def trained(params: Params, train: CocoDataset) -> dict[str, float]:
    """The last epoch's metrics, with those on val, and the seconds that a step took over all."""
    val = read_coco(paths.VAL_JSON)
    packaged = {params.download.weights.backbone: paths.WEIGHTS / Path(params.download.weights.member).name}
    model, _ = starting_model(params.model, params.train.seed, train.class_names, params.model.weights, packaged)
    sets, size = TrainingSets(train, val), InputSize(params.model.short_side, params.model.long_side)
    with tempfile.TemporaryDirectory() as folder:
        epochs = list(fit(model, sets, params.train, params.runtime, size, best_device(), Path(folder)))
    steps = len(epochs) * -(-len(train.images) // params.train.batch_size)
    return epochs[-1].metrics | {"step": sum(epoch.metrics["seconds"] for epoch in epochs) / steps}


if __name__ == "__main__":
    main()
