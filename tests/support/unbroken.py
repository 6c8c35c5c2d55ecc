"""A training that may be killed at any time, as a function of an importable module, which forks can start."""

import multiprocessing
from pathlib import Path

import torch

from retinanet.dataset.coco import read_coco
from retinanet.files import write_json
from retinanet.training.checkpoint import lock_folder
from retinanet.training.fit import TrainingSets, fit
from support.squares import CPU, INPUT_SIZE, build_network, digest, short_runtime, short_training, small_network

# Every step is followed by a checkpoint; images come from a process of their own, augmented.
SETTINGS = {"epochs": 12, "validate_every": 4}
RUNTIME = {"workers": 1, "checkpoint_minutes": 1e-9}
NETWORK = {"backbone": "timm/test_resnet", "pyramid_width": 16, "head_norm": "none", "head_width": 16}


def train(folder: Path, images: Path) -> None:
    """Keeps the hash of each epoch's weights, as the train stage keeps the weights."""
    multiprocessing.set_start_method("fork", force=True)  # of the loader's process, as it is by default here
    # An orphaned loader's process keeps the folder locked until it looks for its parent, every 5 s.
    torch.utils.data._utils.worker.MP_STATUS_CHECK_INTERVAL = 0.1
    torch.set_num_threads(1)
    squares = read_coco(images / "squares.json")
    with lock_folder(folder, 30):
        torch.manual_seed(0)
        model = build_network(small_network(**NETWORK), 1)
        sets = TrainingSets(squares, squares, images)
        for epoch in fit(model, sets, short_training(**SETTINGS), short_runtime(**RUNTIME), INPUT_SIZE, CPU, folder):
            write_json(folder / "result.json", {"epoch": epoch.number, "weights": digest(epoch)})
