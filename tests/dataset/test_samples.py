import pickle

import numpy as np
import pytest
from PIL import Image

from retinanet.config.params import load_params
from retinanet.dataset.augment import Augmentation
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.dataset.image_cache import ImageCache
from retinanet.dataset.samples import EpochBatches, EvaluationImages, SampleKey, TrainingImages, collate
from retinanet.images.preprocess import InputSize


@pytest.fixture
def dataset(tmp_path):
    """An image with an object and a crowd, and one without anything."""
    for name, size in (("a.png", (60, 40)), ("b.png", (30, 30))):
        Image.new("RGB", size).save(tmp_path / name)
    boxes = np.array([[10, 10, 20, 20], [0, 0, 60, 40]], np.float32)
    objects = {
        1: Objects(boxes, np.array([0, 0]), np.array([False, True])),
        2: Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)),
    }
    return CocoDataset((ImageInfo(1, "a.png", 60, 40), ImageInfo(2, "b.png", 30, 30)), ("cell",), (1,), objects)


def test_images_come_at_inference_size_crowds_apart(dataset, tmp_path):
    sample = EvaluationImages(dataset, tmp_path, InputSize(80, 200))[0]
    assert sample.image.shape == (80, 120, 3)
    assert sample.boxes.tolist() == [[20, 20, 40, 40]] and sample.labels.tolist() == [0]
    assert sample.crowds.tolist() == [[0, 0, 120, 80]]


def test_boxes_end_at_the_edge_of_whole_pixels(dataset, tmp_path):
    sample = EvaluationImages(dataset, tmp_path, InputSize(31, 100))[0]
    assert sample.image.shape == (31, 46, 3)
    np.testing.assert_allclose(sample.boxes, [[10 * 46 / 60, 10 * 31 / 40, 20 * 46 / 60, 20 * 31 / 40]], rtol=1e-6)


def test_a_large_jpeg_read_smaller_is_the_same_sample(tmp_path):
    """Decoded at a quarter, from the cache or whole: the same boxes, nearly the same image."""
    y, x = np.mgrid[:480, :640]
    smooth = np.stack([x * 255 // 640, y * 255 // 480, (x + y) % 256 // 2 + 60], axis=2).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95, subsampling=0)
    objects = Objects(np.array([[100, 50, 400, 300]], np.float32), np.array([0]), np.array([False]))
    dataset = CocoDataset((ImageInfo(1, "a.jpg", 640, 480),), ("cell",), (1,), {1: objects})
    settings = load_params().train.augment.model_copy(
        update={"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    )
    augmentation = Augmentation(settings, 96, 96, (0, 0, 0))
    read = TrainingImages(dataset, tmp_path, augmentation, 0)
    cached = TrainingImages(dataset, tmp_path, augmentation, 0, ImageCache(tmp_path / "cache"))
    for epoch in range(4):
        one, first, again = (images[SampleKey(epoch, 0, 96)] for images in (read, cached, cached))
        assert one.boxes.tolist() == first.boxes.tolist() == again.boxes.tolist()
        np.testing.assert_array_equal(first.image, again.image)
        assert np.abs(one.image.astype(int) - first.image).mean() < 3
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_training_sample_follows_from_seed_epoch_and_row(dataset, tmp_path):
    augmentation = Augmentation(load_params().train.augment, 64, 64, (0, 0, 0))
    first, again = (TrainingImages(dataset, tmp_path, augmentation, seed=4) for _ in range(2))
    first[SampleKey(1, 1, 64)], first[SampleKey(2, 0, 64)]  # what was asked before must not matter
    np.testing.assert_array_equal(first[SampleKey(1, 0, 64)].boxes, again[SampleKey(1, 0, 64)].boxes)
    assert any(
        not np.array_equal(first[SampleKey(1, 0, 64)].boxes, again[SampleKey(epoch, 0, 64)].boxes)
        for epoch in range(2, 6)
    )


def test_workers_that_are_spawned_give_the_same_samples(dataset, tmp_path):
    """As on macOS and Windows, where the images are pickled for each worker."""
    augmentation = Augmentation(load_params().train.augment, 64, 64, (0, 0, 0))
    here = TrainingImages(dataset, tmp_path, augmentation, 0, ImageCache(tmp_path / "cache"))
    sample = here[SampleKey(1, 0, 64)]
    there = pickle.loads(pickle.dumps(here))[SampleKey(1, 0, 64)]
    np.testing.assert_array_equal(sample.image, there.image)
    np.testing.assert_array_equal(sample.boxes, there.boxes)


def test_batch_of_unequal_images_one_without_objects(dataset, tmp_path):
    images = EvaluationImages(dataset, tmp_path, InputSize(40, 60))
    batch = collate([images[0], images[1]], (9, 9, 9))
    assert batch.images.shape == (2, 96, 96, 3)  # no network takes less
    assert [len(boxes) for boxes in batch.boxes] == [len(crowds) for crowds in batch.crowds] == [1, 0]
    assert batch.sizes == [(40, 60), (40, 40)] and batch.image_ids == [1, 2]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_epoch_is_whole_batches_and_no_image_is_dropped_or_doubled(processes):
    """Five epochs of three batches of two are six rounds of five images."""
    drawn = []
    for rank in range(processes):
        batches = EpochBatches(count=5, batch_size=2, seed=0, canvases=[64], rank=rank, processes=processes)
        for batches.epoch in range(5):
            assert len(batches) == len(list(batches)) == 3
            drawn += [(number, row) for batch in batches for number, row, _ in batch]
    assert sorted(drawn) == [(number, row) for number in range(6) for row in range(5)]


def test_an_epoch_goes_on_from_a_step():
    batches = EpochBatches(count=5, batch_size=2, seed=0, canvases=[64, 96])
    whole = list(batches)
    batches.first = 2
    assert list(batches) == whole[2:] and len(batches) == 1


def test_order_follows_from_the_epoch():
    batches, orders = EpochBatches(10, 5, seed=0, canvases=[64]), []
    for epoch in (1, 2, 1):
        batches.epoch = epoch
        orders.append([row for batch in batches for _, row, _ in batch])
    assert orders[0] == orders[2] != orders[1]
