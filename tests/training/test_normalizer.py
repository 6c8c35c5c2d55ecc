import pytest
import torch

from retinanet.errors import ParamsError
from retinanet.losses.matching import BACKGROUND
from retinanet.training.normalizer import Normalizer, class_weights


def matched(*found: int) -> torch.Tensor:
    """(N, 50) of images with so many foreground anchors."""
    return torch.stack([torch.tensor([0] * count + [BACKGROUND] * (50 - count)) for count in found])


def test_divisors_of_images():
    # Their mean over N = 2, an image without objects counting one.
    (divisors,) = Normalizer("image").divisors([matched(20, 0)])
    assert divisors.tolist() == [40, 2]


@pytest.mark.parametrize("kind", ["batch", "moving"])
def test_parts_share_what_the_whole_step_has_found(kind):
    (whole,) = Normalizer(kind).divisors([matched(20, 0, 4, 6)])
    micro_batches = Normalizer(kind).divisors([matched(20, 0), matched(4, 6)])
    # Each part's losses are halved, as there are two; so are their divisors.
    assert torch.cat(micro_batches).tolist() == (whole / 2).tolist()
    assert whole.tolist() == pytest.approx([31] * 4 if kind == "batch" else [0.9 * 100 + 0.1 * 30] * 4)


def test_the_moving_average_goes_on_with_each_step_that_is_made():
    normalizer, again = Normalizer("moving"), Normalizer("moving")
    normalizer.divisors([matched(40)])  # of a step that failed
    assert normalizer.divisors([matched(20)])[0].item() == pytest.approx(92)  # .9 * 100 + .1 * 20
    normalizer.advance()
    assert normalizer.divisors([matched(20)])[0].item() == pytest.approx(84.8)
    again.load_state_dict(normalizer.state_dict())
    assert again.divisors([matched(20)])[0].item() == pytest.approx(84.8)


def test_class_weights_stand_in_the_order_of_the_classes():
    assert class_weights({"dog": 3}, ("cat", "dog")).tolist() == [1, 3]
    assert class_weights({}, ("cat", "dog")) is None


@pytest.mark.parametrize(("name", "says"), [("dgo", "did you mean dog"), ("tree", "the classes are cat, dog")])
def test_a_class_that_is_not_there_is_refused(name, says):
    with pytest.raises(ParamsError, match=says):
        class_weights({name: 2.0}, ("cat", "dog"))
