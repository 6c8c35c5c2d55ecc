"""A training that tests kill at any time, in an importable module so that a forkserver can start it."""

import multiprocessing
from pathlib import Path

import torch

from retinanet.dataset.coco import read_coco
from retinanet.files import write_json
from retinanet.training.checkpoint import lock_folder
from retinanet.training.fit import TrainingSets, fit
from support.squares import CPU, INPUT_SIZE, build_network, digest, short_runtime, short_training, small_network

# A checkpoint after every step; a worker process augments the images.
SETTINGS = {"epochs": 12, "validate_every": 4}
RUNTIME = {"workers": 1, "checkpoint_minutes": 1e-9}
NETWORK = {"backbone": "timm/test_resnet", "pyramid_width": 16, "head_norm": "none", "head_width": 16}


def train(folder: Path, images: Path) -> None:
    """Write the hash of each epoch's weights, as the train stage writes the weights."""
    multiprocessing.set_start_method("fork", force=True)  # for the loader's worker
    # An orphaned worker keeps the folder locked until it checks for its parent, every 5 s by default.
    torch.utils.data._utils.worker.MP_STATUS_CHECK_INTERVAL = 0.1
    torch.set_num_threads(1)
    squares = read_coco(images / "squares.json")
    with lock_folder(folder, 30):
        torch.manual_seed(0)
        model = build_network(small_network(**NETWORK), 1)
        sets = TrainingSets(squares, squares, images)
        for epoch in fit(model, sets, short_training(**SETTINGS), short_runtime(**RUNTIME), INPUT_SIZE, CPU, folder):
            write_json(folder / "result.json", {"epoch": epoch.number, "weights": digest(epoch)})
