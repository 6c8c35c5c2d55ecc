"""A workspace whose prepared images are squares and whose network runs in milliseconds."""

import shutil
from pathlib import Path

from retinanet.config.params import write_params
from retinanet.files import write_json
from retinanet.prepare.decisions import Decisions, write_decisions
from support.squares import NETWORK, make_squares

ROOT = Path(__file__).parents[2]
TINY: dict[str, object] = {f"model.{name}": value for name, value in NETWORK.items()}
TINY |= {"model.backbone": "timm/test_resnet", "train.epochs": 1, "train.batch_size": 4, "runtime.workers": 0}


def make_squares_workspace(folder: Path) -> None:
    """Write params.yaml, stages/paths.py and data/prepared; all splits are the eight images of make_squares."""
    shutil.copy(ROOT / "params.yaml", folder)
    write_params(folder / "params.yaml", TINY)
    (folder / "stages").mkdir()
    shutil.copy(ROOT / "stages" / "paths.py", folder / "stages")
    make_squares(folder)
    prepared = folder / "data" / "prepared"
    prepared.mkdir(parents=True)
    for split in ("train", "val", "test"):
        shutil.copy(folder / "squares.json", prepared / f"{split}.json")
    write_json(prepared / "index.json", {})
    write_decisions(Decisions(0, 0.25, "upright"), prepared / "decisions.json")
