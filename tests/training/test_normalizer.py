import pytest
import torch

from retinanet.errors import ParamsError
from retinanet.losses.matching import BACKGROUND
from retinanet.training.normalizer import Normalizer, class_weights


def matched(*counts: int) -> torch.Tensor:
    """(N, 50) for images with these numbers of foreground anchors."""
    return torch.stack([torch.tensor([0] * count + [BACKGROUND] * (50 - count)) for count in counts])


def test_image_divisors_count_each_image_alone():
    # Times N = 2, for the mean over images; an image without objects counts 1.
    (divisors,) = Normalizer("image").divisors([matched(20, 0)])
    assert divisors.tolist() == [40, 2]


@pytest.mark.parametrize("kind", ["batch", "moving"])
def test_micro_batches_share_the_divisor_of_the_step(kind):
    (whole,) = Normalizer(kind).divisors([matched(20, 0, 4, 6)])
    micro_batches = Normalizer(kind).divisors([matched(20, 0), matched(4, 6)])
    # The losses of two micro-batches are halved, and so are their divisors.
    assert torch.cat(micro_batches).tolist() == (whole / 2).tolist()
    assert whole.tolist() == pytest.approx([31] * 4 if kind == "batch" else [0.9 * 100 + 0.1 * 30] * 4)


def test_moving_average_advances_only_with_steps_that_are_made():
    normalizer, restored = Normalizer("moving"), Normalizer("moving")
    normalizer.divisors([matched(40)])  # for a step that failed
    assert normalizer.divisors([matched(20)])[0].item() == pytest.approx(92)  # .9 * 100 + .1 * 20
    normalizer.advance()
    assert normalizer.divisors([matched(20)])[0].item() == pytest.approx(84.8)
    restored.load_state_dict(normalizer.state_dict())
    assert restored.divisors([matched(20)])[0].item() == pytest.approx(84.8)


def test_class_weights_are_in_the_order_of_the_classes():
    assert class_weights({"dog": 3}, ("cat", "dog")).tolist() == [1, 3]
    assert class_weights({}, ("cat", "dog")) is None


@pytest.mark.parametrize(("name", "hint"), [("dgo", "did you mean dog"), ("tree", "the classes are cat, dog")])
def test_class_weights_of_an_unknown_class_raise(name, hint):
    with pytest.raises(ParamsError, match=hint):
        class_weights({name: 2.0}, ("cat", "dog"))
