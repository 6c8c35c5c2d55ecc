from pathlib import Path

from retinanet.annotations.records import Box, Finding, SourceImage
from retinanet.images.reading import ImageFacts
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.suspicious import contradicting_boxes, unexpectedly_empty

CAT, DOG = Box("cat", (0.0, 0.0, 20.0, 10.0)), Box("dog", (0.0, 0.0, 20.0, 10.0))


def image(name: str, *boxes: Box) -> CheckedImage:
    return CheckedImage(SourceImage(Path(name), boxes), ImageFacts(64, 48, "", ()), boxes)


def test_boxes_of_one_object_with_two_classes_contradict():
    nearly = DOG._replace(xyxy=(0.0, 0.0, 19.0, 10.0))  # IoU 0.95
    assert contradicting_boxes([image("a.png", CAT, DOG), image("b.png", CAT, nearly)]) == [
        Finding("a.png", "one object, or two with an IoU of 1.00, is cat and dog", CAT.xyxy),
        Finding("b.png", "one object, or two with an IoU of 0.95, is cat and dog", CAT.xyxy),
    ]


def test_boxes_that_overlap_less_or_are_crowds_or_of_one_class_do_not_contradict():
    apart, half = DOG._replace(xyxy=(30.0, 0.0, 50.0, 10.0)), DOG._replace(xyxy=(0.0, 0.0, 10.0, 10.0))
    boxes = [(CAT, apart), (CAT, half), (CAT, CAT), (CAT, DOG._replace(iscrowd=True))]
    assert contradicting_boxes([image("a.png", *pair) for pair in boxes]) == []


def test_a_few_empty_images_among_full_ones_are_listed():
    full = [image(f"{n}.png", CAT, CAT, DOG) for n in range(9)]
    assert unexpectedly_empty([*full, image("empty.png")]) == [
        Finding("empty.png", "no object; half of the other images have 3 or more")
    ]
    assert unexpectedly_empty(full) == []


def test_empty_images_are_expected_if_they_are_many_or_others_have_few_objects():
    assert unexpectedly_empty([image("a.png", CAT, CAT, CAT)] * 8 + [image("b.png")] * 2) == []
    assert unexpectedly_empty([image("a.png", CAT)] * 20 + [image("b.png")]) == []
    assert unexpectedly_empty([image("b.png")]) == []
