"""Train with other params in shortened runs and compare them on val: benchmarks/search_<name>.md.

    uv run python -m benchmarks.search bccd [--seeds 0 1] [--trials 3 4]

Run it in a workspace whose data/prepared is the search's data. Rows in the table are not run again, so an interrupted
search resumes.
"""

import argparse
import tempfile
from pathlib import Path

import yaml

from retinanet.config.params import changed_params, load_params
from retinanet.config.settings import Params
from retinanet.dataset.coco import CocoDataset, read_coco
from retinanet.files import write_text
from retinanet.runtime import keep_freed_memory
from retinanet.training.fit import TrainingSets
from retinanet.training.job import training_job
from stages import paths

SEARCHES = Path("benchmarks/search.yaml")
HEAD = "| changed params | seed | val AP50 | val AP | seconds a step |\n| --- | --- | --- | --- | --- |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a search in benchmarks/search.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--trials", type=int, nargs="+", help="positions of trials in the file, from 0; default: all")
    arguments = parser.parse_args()
    search = yaml.safe_load(SEARCHES.read_text(encoding="utf-8"))[arguments.name]
    table = SEARCHES.with_name(f"search_{arguments.name}.md")
    keep_freed_memory()
    trials = search["trials"]
    for seed in arguments.seeds:
        for trial in [trials[i] for i in arguments.trials or range(len(trials))]:
            changes = ", ".join(f"`{key}={value}`" for key, value in trial.items()) or "none"
            start = f"| {changes} | {seed} |"
            if start not in _read_table(table):
                params = _params(search["base"] | trial | {"train.seed": seed})
                metrics = train(params, read_coco(paths.TRAIN_JSON))
                row = f"{start} {metrics['val/AP50']:.3f} | {metrics['val/AP']:.3f} | {metrics['step']:.2f} |\n"
                # Read again: another process may have added the rows of other seeds.
                write_text(table, _read_table(table) + row)
                print(row, end="", flush=True)


def train(params: Params, train_set: CocoDataset) -> dict[str, float]:
    """The last epoch's metrics, those on val among them, and `step`: the mean seconds a step, validation included."""
    job = training_job(params, TrainingSets(train_set, read_coco(paths.VAL_JSON)), params.model.weights, paths)
    with tempfile.TemporaryDirectory() as folder:
        epochs = list(job.epochs(Path(folder)))
    steps = len(epochs) * -(-len(train_set.images) // params.train.batch_size)
    return epochs[-1].metrics | {"step": sum(epoch.metrics["seconds"] for epoch in epochs) / steps}


def _read_table(table: Path) -> str:
    return table.read_text(encoding="utf-8") if table.exists() else HEAD


def _params(values: dict[str, object]) -> Params:
    """params.yaml with other values, validated once at the end of training."""
    return changed_params(load_params(), values | {"train.validate_every": values["train.epochs"]})


if __name__ == "__main__":
    main()
