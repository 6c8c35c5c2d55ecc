import pytest
import torch

from retinanet.training.start import starting_model


@pytest.mark.parametrize("seed", [2**63, 2**64, 10**30])
def test_starting_model_with_a_seed_of_more_than_64_bits(small_settings, seed):
    first, second = (starting_model(small_settings, seed, ("square",), "none", {})[0] for _ in range(2))
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
