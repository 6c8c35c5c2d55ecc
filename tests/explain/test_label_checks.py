from support.scored_boxes import dataset, result

from retinanet.evaluation.errors import detections_above
from retinanet.explain.label_checks import COLUMNS, MISDRAWN, UNLABELED, WRONG_CLASS, labels_to_check, table

CAT, DOG = 0, 1
A, B, C = [0, 0, 20, 20], [40, 0, 60, 20], [100, 0, 200, 100]
LOOSE = [100, 0, 200, 60]  # IoU 0.6 with C
TIGHT = [100, 0, 200, 80]  # IoU 0.8 with C


def check(truth, rows, thresholds=(0.5, 0.5)):
    return labels_to_check(truth, detections_above(truth, rows, (0, 0)), thresholds)


def totals(images):
    return [(image.image.id, round(image.total, 2)) for image in images]


def test_images_with_most_unexplained_scores_come_first():
    truth = dataset([(A, CAT)], [(A, CAT)], [(A, CAT)])
    rows = [result(1, A, CAT, 0.99), result(2, B, CAT, 0.95)]
    rows += [result(3, B, CAT, 0.6), result(3, C, DOG, 0.9), result(3, [250, 0, 290, 40], CAT, 0.4)]
    found = check(truth, rows)
    # The detection on the object of image 1 is explained, and 0.4 is below the threshold.
    assert totals(found[UNLABELED]) == [(3, 1.5), (2, 0.95)]
    assert [(finding.label, round(finding.score, 2)) for finding in found[UNLABELED][0].findings] == [
        (DOG, 0.9),
        (CAT, 0.6),
    ]
    assert found[MISDRAWN] == found[WRONG_CLASS] == []


def test_boxes_look_misdrawn_if_the_true_positive_overlaps_them_by_less_than_075():
    truth = dataset([(C, CAT)], [(C, CAT)], [(C, CAT)])
    rows = [result(1, LOOSE, CAT, 0.9), result(2, TIGHT, CAT, 0.9), result(3, [100, 0, 200, 40], CAT, 0.9)]
    found = check(truth, rows)
    assert totals(found[MISDRAWN]) == [(1, 0.9)]
    assert round(found[MISDRAWN][0].findings[0].iou, 3) == 0.6
    # IoU 0.4 is a localization error: neither a true positive nor on background.
    assert found[UNLABELED] == []


def test_class_looks_wrong_if_the_object_was_found_as_another_class_only():
    truth = dataset([(C, CAT)], [(C, CAT)])
    rows = [result(1, TIGHT, DOG, 0.8), result(2, TIGHT, DOG, 0.8), result(2, C, CAT, 0.9)]
    assert totals(check(truth, rows)[WRONG_CLASS]) == [(1, 0.8)]


def test_thresholds_are_those_of_the_class():
    rows = [result(1, A, CAT, 0.6), result(1, B, DOG, 0.6)]
    ((image,), *_) = check(dataset([]), rows, thresholds=(0.7, 0.5)).values()
    assert [finding.label for finding in image.findings] == [DOG]


def test_images_without_objects_and_detections_have_nothing_to_check():
    assert check(dataset([]), []) == {UNLABELED: [], MISDRAWN: [], WRONG_CLASS: []}


def test_table_has_a_row_for_each_finding_with_its_label():
    truth = dataset([(C, CAT)], [])
    rows = [result(1, LOOSE, CAT, 0.875), result(2, A, DOG, 0.75)]
    unlabeled, misdrawn = table(truth, check(truth, rows))
    assert (unlabeled["check"], unlabeled["rank"], unlabeled["image"]) == (UNLABELED, 1, "2.png")
    assert (unlabeled["detected"], unlabeled["score"], "labeled" in unlabeled) == ("dog", 0.75, False)
    assert [misdrawn[side] for side in ("left", "top", "right", "bottom")] == LOOSE
    assert [misdrawn[f"label_{side}"] for side in ("left", "top", "right", "bottom")] == C
    assert (misdrawn["labeled"], misdrawn["iou"], misdrawn["image_total"]) == ("cat", 0.6, 0.875)
    assert set(misdrawn) == set(COLUMNS)
