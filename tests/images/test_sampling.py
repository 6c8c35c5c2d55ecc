import pytest

from retinanet.images.sampling import evenly_spaced


@pytest.mark.parametrize(
    ("count", "sample"), [(0, []), (1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, [*range(10)]), (99, [*range(10)])]
)
def test_evenly_spaced_takes_first_and_last_and_no_item_twice(count, sample):
    assert evenly_spaced(range(10), count) == sample


def test_evenly_spaced_of_no_items_is_empty():
    assert evenly_spaced([], 3) == []
