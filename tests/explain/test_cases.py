import numpy as np
from support.scored_boxes import dataset, result

from retinanet.evaluation.errors import BACKGROUND_ERROR, LOCALIZATION, TRUE_POSITIVE, detections_above
from retinanet.explain.cases import FALSE_POSITIVE, HIT, MISSED, select_cases

CAT, DOG = 0, 1
A, B, C, D = [0, 0, 20, 20], [40, 0, 60, 20], [80, 0, 120, 40], [150, 0, 170, 20]


def select(truth, rows, count=10, most=100, thresholds=(0.5, 0.5)):
    return select_cases(truth, detections_above(truth, rows, (0, 0)), thresholds, count, most)


def outlines(cases):
    return [(case.kind, case.label, case.box_xyxy.tolist(), round(case.score, 2)) for case in cases]


def test_cases_are_hits_false_positives_and_misses_of_each_class():
    truth = dataset([(A, CAT), (C, DOG)], [])
    rows = [result(1, A, CAT, 0.9), result(1, B, CAT, 0.8), result(2, B, DOG, 0.7), result(2, A, DOG, 0.4)]
    cases = select(truth, rows)
    assert outlines(cases) == [
        (FALSE_POSITIVE, CAT, B, 0.8),
        (FALSE_POSITIVE, DOG, B, 0.7),
        (MISSED, DOG, C, 0),
        (HIT, CAT, A, 0.9),
    ]
    assert [case.error for case in cases] == [BACKGROUND_ERROR, BACKGROUND_ERROR, MISSED, TRUE_POSITIVE]
    assert [case.image_id for case in cases] == [1, 2, 1, 1]
    assert cases[-1].iou == 1 and cases[-1].object_row == 0


def test_misses_that_were_least_nearly_found_come_first_then_large_ones():
    truth = dataset([(A, DOG), (B, DOG), (C, DOG)])
    rows = [result(1, A, DOG, 0.3), result(1, A, CAT, 0.4)]  # the cat is no nearly found dog
    assert outlines(select(truth, rows)) == [(MISSED, DOG, C, 0), (MISSED, DOG, B, 0), (MISSED, DOG, A, 0.3)]


def test_a_poorly_localized_object_is_a_false_positive_and_not_missed():
    truth = dataset([(C, CAT)])
    (case,) = select(truth, [result(1, [80, 0, 120, 12], CAT, 0.9)])
    assert (case.kind, case.error, round(case.iou, 2), case.object_row) == (FALSE_POSITIVE, LOCALIZATION, 0.3, 0)


def test_ignored_detections_and_regions_are_no_cases():
    truth = dataset([(C, CAT, True)])
    assert select(truth, [result(1, [85, 5, 100, 30], CAT, 0.9)]) == ()


def test_most_confident_cases_of_each_kind_are_taken():
    truth = dataset([])
    rows = [result(1, box, CAT, score) for box, score in ((A, 0.6), (B, 0.9), (C, 0.7))]
    assert [round(case.score, 1) for case in select(truth, rows, count=2)] == [0.9, 0.7]


def test_too_many_cases_leave_one_of_each_class():
    truth = dataset([])
    rows = [result(1, A, CAT, 0.9), result(1, B, CAT, 0.8), result(1, C, DOG, 0.7), result(1, D, DOG, 0.6)]
    assert [case.label for case in select(truth, rows, most=2)] == [CAT, DOG]
    assert [round(case.score, 1) for case in select(truth, rows, most=3)] == [0.9, 0.8, 0.7]


def test_each_class_has_its_own_threshold():
    truth = dataset([(A, CAT), (B, DOG)])
    rows = [result(1, A, CAT, 0.5), result(1, B, DOG, 0.5)]
    assert [(case.kind, case.label) for case in select(truth, rows, thresholds=(0.5, 0.6))] == [
        (MISSED, DOG),
        (HIT, CAT),
    ]


def test_cases_differ_even_if_their_values_are_equal():
    truth = dataset([(A, CAT), (A, CAT)])
    assert len({case: None for case in select(truth, [])}) == 2
    assert np.array_equal(*[case.box_xyxy for case in select(truth, [])])
