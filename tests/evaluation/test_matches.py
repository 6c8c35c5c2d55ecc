import numpy as np
import pytest
from support.scored_boxes import dataset, random_results, result

from retinanet.dataset.coco import CocoDataset
from retinanet.errors import EvaluationError
from retinanet.evaluation.coco_metrics import evaluate
from retinanet.evaluation.matches import class_areas, class_precisions, matches_of, read_matches

BOX, ELSEWHERE = [10, 10, 60, 60], [100, 100, 160, 160]


@pytest.mark.parametrize("seed", range(5))
def test_precisions_are_those_of_pycocotools(seed):
    truth, rows = random_results(seed, images=30)
    evaluation = evaluate(truth, rows)
    matches = matches_of(evaluation, truth)
    expected = evaluation.precision[:, :, :, 0]
    assert matches.is_ignored.any() and len(set(matches.scores)) < len(matches.scores)
    assert 0.1 < expected.mean() < 0.9
    for label in range(2):
        np.testing.assert_allclose(class_precisions(matches, label), expected[:, :, label], rtol=0, atol=1e-12)


def test_a_unit_of_weight_0_is_left_out_with_all_its_images():
    groups = tuple(f"scene {i // 3}" for i in range(30))
    truth, rows = random_results(0, images=30, groups=groups)
    matches = matches_of(evaluate(truth, rows), truth)
    assert matches.images.tolist() == [3] * 10
    kept = tuple(image for image in truth.images if image.group != "scene 4")
    smaller = CocoDataset(kept, truth.class_names, truth.category_ids, {i.id: truth.objects[i.id] for i in kept})
    alone = matches_of(evaluate(smaller, [row for row in rows if row["image_id"] in smaller.objects]), smaller)
    weights = np.ones((1, 10))
    weights[0, 4] = 0
    np.testing.assert_allclose(class_areas(matches, 0, weights), class_areas(alone, 0, np.ones((1, 9))), atol=1e-12)


def two_images():
    truth = dataset([(BOX, 0)], [(ELSEWHERE, 0)])
    return truth, [result(1, BOX, 0, 0.9), result(2, BOX, 0, 0.8), result(2, ELSEWHERE, 0, 0.7)]


def test_area_of_a_true_a_false_and_a_true_positive():
    truth, rows = two_images()
    once, twice, absent = class_areas(matches_of(evaluate(truth, rows), truth), 0, np.array([[1.0, 1], [2, 1], [0, 1]]))
    assert once == pytest.approx(np.full(10, (1 + 2 / 3) / 2))
    assert twice == pytest.approx(np.full(10, (2 + 3 / 4) / 3))  # the first image counts like two copies
    assert absent == pytest.approx(np.full(10, 1 / 2))


def test_area_is_ap_up_to_its_101_recalls():
    truth, rows = random_results(2, images=40)
    matches = matches_of(evaluate(truth, rows), truth)
    areas, precisions = class_areas(matches, 0, np.ones((1, 40)))[0], class_precisions(matches, 0)
    np.testing.assert_allclose(areas, precisions.mean(axis=1), atol=1 / 101)


def test_a_class_without_objects_has_neither_precision_nor_area():
    truth, rows = two_images()
    matches = matches_of(evaluate(truth, [*rows, result(1, BOX, 1, 0.5)]), truth)
    assert np.isnan(class_precisions(matches, 1)).all() and np.isnan(class_areas(matches, 1, np.ones((1, 2)))).all()


def test_matches_without_detections():
    truth, _ = two_images()
    matches = matches_of(evaluate(truth, []), truth)
    assert (len(matches.scores), matches.objects.tolist()) == (0, [[1, 0], [1, 0]])
    assert class_precisions(matches, 0).max() == class_areas(matches, 0, np.ones((1, 2))).max() == 0


def test_saved_matches_are_read_again_and_have_the_same_bytes(tmp_path):
    truth, rows = random_results(1, images=9)
    slices = {("folder", "day"): np.arange(9) < 5, ("group", ""): np.arange(9) == 8}
    matches = matches_of(evaluate(truth, rows), truth, slices)
    for name in ("a.npz", "b.npz"):
        matches.save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = read_matches(tmp_path / "a.npz")
    assert again.class_names == ("cat", "dog")
    for name in ("images", "objects", "scores", "labels", "units", "is_true", "is_ignored"):
        np.testing.assert_array_equal(getattr(again, name), getattr(matches, name))
    assert {name: mask.tolist() for name, mask in again.slices.items()} == {
        ("folder", "day"): [True] * 5 + [False] * 4,
        ("group", ""): [False] * 8 + [True],
    }


def test_a_file_without_slices_is_read(tmp_path):
    truth, rows = two_images()
    matches_of(evaluate(truth, rows), truth).save(tmp_path / "matches.npz")
    assert read_matches(tmp_path / "matches.npz").slices == {}


@pytest.mark.parametrize("content", [b"nothing", b""])
def test_a_damaged_file_is_one_error(tmp_path, content):
    (tmp_path / "matches.npz").write_bytes(content)
    with pytest.raises(EvaluationError, match=r"matches.npz: cannot be read .* writes it again"):
        read_matches(tmp_path / "matches.npz")
