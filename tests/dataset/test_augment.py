import numpy as np
import pytest

from retinanet.config.training import Augment
from retinanet.dataset.augment import AnnotatedImage, Augmentation
from retinanet.images.preprocess import resize_to, scaled_size

PADDING = (128, 128, 128)
BOXES, LABELS = np.array([[10, 20, 30, 40], [50, 50, 60, 60]], np.float32), np.array([3, 5])
NONE = np.zeros((0, 4), np.float32)


def settings(**changed) -> Augment:
    nothing = {
        "flip_horizontal": 0,
        "orientation": "upright",
        "scale": [1.0, 1.0],
        "multi_scale": [1.0],
        "mosaic": 0,
        "brightness": 0,
        "contrast": 0,
        "saturation": 0,
        "hue": 0,
    }
    return Augment.model_validate(nothing | changed)


def image_with(boxes) -> np.ndarray:
    """Black, with white rectangles where the boxes are."""
    image = np.zeros((100, 100, 3), np.uint8)
    for x1, y1, x2, y2 in boxes.astype(int):
        image[y1:y2, x1:x2] = 255
    return image


def augmented(
    augmentation: Augmentation, canvas: int, image, boxes, labels, seed: list[int], crowds=NONE
) -> AnnotatedImage:
    """The sample of that seed, the image being brought to its scale first."""
    scale = np.float32(augmentation.scale(*image.shape[:2], seed, canvas))
    resized = resize_to(image, scaled_size(*image.shape[:2], scale))
    return augmentation(AnnotatedImage(resized, boxes * scale, labels, crowds * scale), seed, canvas)


def test_nothing_set_changes_nothing():
    augmentation = Augmentation(settings(), 100, 100, PADDING)
    image, boxes, labels, _ = augmented(augmentation, 100, image_with(BOXES), BOXES, LABELS, [0])
    np.testing.assert_array_equal(image, image_with(BOXES))
    np.testing.assert_allclose(boxes, BOXES, rtol=1e-6)
    assert labels.tolist() == [3, 5]


def test_flip_takes_the_boxes_along():
    augmentation = Augmentation(settings(flip_horizontal=1), 100, 100, PADDING)
    _, boxes, *_ = augmented(augmentation, 100, image_with(BOXES), BOXES, LABELS, [0])
    np.testing.assert_allclose(boxes, [[70, 20, 90, 40], [40, 50, 50, 60]], rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_boxes_stay_on_their_objects_through_everything(seed):
    augmentation = Augmentation(settings(flip_horizontal=0.5, orientation="any", scale=[0.5, 2.0]), 96, 96, (0, 0, 0))
    image, boxes, *_ = augmented(augmentation, 96, image_with(BOXES), BOXES, LABELS, [seed])
    assert image.shape == (96, 96, 3)
    for x1, y1, x2, y2 in boxes.round().astype(int):
        assert image[y1:y2, x1:x2].mean() > 200
    covered = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes)
    assert covered <= (image[..., 0] > 127).sum() * 1.15


def test_the_same_seed_gives_the_same_sample():
    augmentation = Augmentation(settings(scale=[0.5, 2.0], brightness=0.5, hue=0.1), 96, 96, PADDING)
    runs = [augmented(augmentation, 96, image_with(BOXES), BOXES, LABELS, seed) for seed in ([1, 2], [9, 9], [1, 2])]
    assert np.array_equal(runs[0][0], runs[2][0]) and np.array_equal(runs[0][1], runs[2][1])
    assert not np.array_equal(runs[0][0], runs[1][0])


def test_image_without_objects():
    augmentation = Augmentation(settings(), 64, 64, PADDING)
    nothing = AnnotatedImage(np.zeros((40, 64, 3), np.uint8), NONE, np.zeros(0, int), NONE)
    _, boxes, labels, crowds = augmentation(nothing, [0], 64)
    assert boxes.shape == crowds.shape == (0, 4) and labels.shape == (0,)


@pytest.mark.parametrize(("orientation", "count"), [("upright", 1), ("auto", 1), ("any", 8)])
def test_images_of_any_orientation_are_flipped_and_rotated_to_all_eight(orientation, count):
    augmentation = Augmentation(settings(orientation=orientation), 100, 100, PADDING)
    seen = {
        tuple(augmented(augmentation, 100, image_with(BOXES), BOXES, LABELS, [seed])[1].round().ravel())
        for seed in range(60)
    }
    assert len(seen) == count


def test_a_crowd_goes_along_and_stays_one():
    augmentation = Augmentation(settings(flip_horizontal=1), 100, 100, PADDING)
    _, boxes, labels, crowds = augmented(augmentation, 100, image_with(BOXES), BOXES, LABELS, [0], BOXES[:1])
    np.testing.assert_allclose(boxes, [[70, 20, 90, 40], [40, 50, 50, 60]], rtol=1e-6)
    np.testing.assert_allclose(crowds, [[70, 20, 90, 40]], rtol=1e-6)
    assert labels.tolist() == [3, 5]


def test_what_a_crop_leaves_of_an_object_is_a_crowd_when_it_is_little():
    """An object of 50 x 10 px on an image that is cut to the half: at least 30% of it counts, less does not."""
    augmentation = Augmentation(settings(), 50, 50, PADDING)
    wide = AnnotatedImage(
        np.zeros((50, 100, 3), np.uint8), np.array([[40, 10, 90, 20]], np.float32), np.array([1]), NONE
    )
    seen = set()
    for seed in range(40):
        _, boxes, labels, crowds = augmentation(wide, [seed], 50)
        ((left, _, right, _),) = np.concatenate([boxes, crowds])
        assert (len(boxes), len(labels), len(crowds)) == ((1, 1, 0) if right - left >= 15 else (0, 0, 1))
        seen.add(len(boxes))
    assert seen == {0, 1}


def test_the_scale_follows_seed_canvas_and_the_images_size():
    augmentation = Augmentation(settings(scale=[0.5, 2.0], multi_scale=[0.5, 1.5]), 100, 100, PADDING)
    scales = [augmentation.scale(50, 50, [seed], 100) for seed in range(200)]
    assert len(set(scales)) == 200
    assert 1.0 <= min(scales) < 1.1 and 3.8 < max(scales) <= 4.0
    assert augmentation.scale(50, 50, [7], 50) == scales[7] / 2
    assert augmentation.scale(100, 200, [7], 100) == pytest.approx(scales[7] / 4)
    assert augmentation.largest_scale(50, 50) == 6.0


def test_a_mosaic_is_four_images_around_a_point_at_the_sizes_they_have():
    augmentation = Augmentation(settings(mosaic=1), 200, 200, PADDING)
    assert augmentation.wants_mosaic([0])
    sizes = (100, 100), (60, 80), (100, 50), (100, 100)  # height, width
    box = np.array([[10, 20, 30, 40]], np.float32)
    one, *others = (
        AnnotatedImage(np.full((*size, 3), 250, np.uint8), box, np.array([i]), box) for i, size in enumerate(sizes)
    )
    image, boxes, labels, crowds = augmentation(one, [0], 200, others)
    # They meet in (100, 100): the second is 60 high, the third 50 wide.
    moved = box + np.array([[0, 0, 0, 0], [100, 40, 100, 40], [50, 100, 50, 100], [100, 100, 100, 100]])
    np.testing.assert_allclose(boxes, moved, rtol=1e-6)
    np.testing.assert_allclose(crowds, moved, rtol=1e-6)
    assert labels.tolist() == [0, 1, 2, 3]
    assert (image == 250).all(axis=2).sum() == sum(height * width for height, width in sizes)


def test_a_mosaic_makes_crowds_of_what_it_cuts_off():
    """Objects as large as their images: of the four, a canvas of that size has parts, and small ones do not count."""
    augmentation = Augmentation(settings(mosaic=1), 50, 50, PADDING)
    whole = AnnotatedImage(np.zeros((50, 50, 3), np.uint8), np.array([[0, 0, 50, 50]], np.float32), np.array([0]), NONE)
    kinds = set()
    for seed in range(40):
        _, boxes, _, crowds = augmentation(whole, [seed], 50, [whole] * 3)
        for regions, is_large in ((boxes, True), (crowds, False)):
            shares = (regions[:, 2:] - regions[:, :2]).prod(axis=1) / 50**2
            assert ((shares >= 0.3) == is_large).all()
            kinds |= {is_large} if len(regions) else set()
    assert kinds == {True, False}
