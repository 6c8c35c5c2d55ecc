import pytest
import torch

from retinanet.errors import ParamsError
from retinanet.training.normaliser import MovingCount, class_weights


def test_moving_count_starts_at_a_hundred():
    count = MovingCount()
    assert count(torch.tensor(20)).item() == pytest.approx(92)  # .9 * 100 + .1 * 20
    assert count(torch.tensor(20)).item() == pytest.approx(84.8)


def test_moving_count_goes_on_where_it_was():
    count, again = MovingCount(), MovingCount()
    count(torch.tensor(20))
    again.load_state_dict(count.state_dict())
    assert again(torch.tensor(20)).item() == pytest.approx(84.8)


def test_class_weights_stand_in_the_order_of_the_classes():
    assert class_weights({"dog": 3}, ("cat", "dog")).tolist() == [1, 3]
    assert class_weights({}, ("cat", "dog")) is None


@pytest.mark.parametrize(("name", "says"), [("dgo", "did you mean dog"), ("tree", "the classes are cat, dog")])
def test_a_class_that_is_not_there_is_refused(name, says):
    with pytest.raises(ParamsError, match=says):
        class_weights({name: 2.0}, ("cat", "dog"))
