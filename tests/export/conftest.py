"""Networks and their ONNX files for all tests of the package: an export takes half a minute."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.squares import INPUT_SIZE, PARAMS, build_network, fit_squares, make_squares, small_network

from retinanet.config.params import load_params
from retinanet.dataset.coco import CocoDataset
from retinanet.export import onnx
from retinanet.export.source import Source
from retinanet.images.preprocess import InputSize
from retinanet.images.reading import Reading
from retinanet.images.tiles import Tiling
from retinanet.inference.detections import DecodeSettings
from retinanet.model.weights import TrainedModel

SETTINGS = DecodeSettings(score_threshold=0.05, nms_iou=0.5, candidates_per_level=200, detections_per_image=50)
READING = Reading(max_pixels=200_000_000, white_level=4095)


def tiny_network(classes: int) -> TrainedModel:
    torch.manual_seed(0)
    settings = load_params(PARAMS).model.model_copy(update={"backbone": "timm/test_resnet"})
    model = build_network(settings, classes).eval()
    torch.nn.init.normal_(model.classification.last.weight, std=0.1)
    torch.nn.init.constant_(model.classification.last.bias, -4.0)
    names, ids = tuple(f"class {k}" for k in range(classes)), tuple(range(3, 3 + classes))
    thresholds = tuple(0.25 + 0.125 * label / classes for label in range(classes))
    return TrainedModel(model, names, ids, InputSize(96, 160), Tiling(200, 0.25), thresholds, READING)


@pytest.fixture(scope="session")
def settings() -> DecodeSettings:
    return SETTINGS


@pytest.fixture(scope="session")
def network() -> TrainedModel:
    return tiny_network(classes=2)


@pytest.fixture(scope="session")
def source(network, tmp_path_factory) -> Source:
    """The network and its ONNX file."""
    return with_onnx(network, tmp_path_factory.mktemp("onnx") / "model.onnx")


@pytest.fixture(scope="session")
def source_of_80_classes(tmp_path_factory) -> Source:
    return with_onnx(tiny_network(classes=80), tmp_path_factory.mktemp("onnx") / "model.onnx")


def with_onnx(network: TrainedModel, path: Path) -> Source:
    source = Source(network, SETTINGS, path)
    onnx.write(path, source)
    return source


@pytest.fixture(scope="session")
def squares(tmp_path_factory) -> CocoDataset:
    """Eight images, seven with a square; their names are absolute paths."""
    root = tmp_path_factory.mktemp("squares")
    made = make_squares(root)
    return replace(made, images=tuple(replace(info, file_name=str(root / info.file_name)) for info in made.images))


@pytest.fixture(scope="session")
def squares_network(squares, tmp_path_factory) -> TrainedModel:
    """A network that finds the squares."""
    torch.manual_seed(0)
    model = build_network(small_network(), 1)
    folder = tmp_path_factory.mktemp("training")
    *_, last = fit_squares(model, squares, Path(), folder, epochs=25, validate_every=25)
    model.load_state_dict(last.weights)
    return TrainedModel(model.eval(), squares.class_names, squares.category_ids, INPUT_SIZE)


@pytest.fixture(scope="session")
def squares_source(squares, squares_network, tmp_path_factory) -> Source:
    """That network and its ONNX file, calibrated on the images with squares."""
    settings, path = replace(SETTINGS, score_threshold=0.3), tmp_path_factory.mktemp("onnx") / "model.onnx"
    source = Source(squares_network, settings, path, [Path(info.file_name) for info in squares.images])
    onnx.write(path, source)
    return source


@pytest.fixture(scope="session")
def noise():
    def images(*shapes: tuple[int, int]) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in shapes]

    return images
