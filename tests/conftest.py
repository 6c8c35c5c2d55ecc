import pytest

from retinanet.params import Model


@pytest.fixture
def small_settings() -> Model:
    """A network that runs in milliseconds."""
    return Model.model_validate(
        {
            "backbone": "timm/resnet10t",
            "weights": "none",
            "frozen_stages": 0,
            "frozen_norm": False,
            "pyramid_width": 32,
            "p6_from": "c5",
            "head_width": 64,
            "head_depth": 1,
            "head_norm": "group",
            "anchors": {
                "sizes": [32, 64, 128, 256, 512],
                "scales_per_octave": 2,
                "ratios": [0.5, 1.0, 2.0],
                "convention": "exact",
            },
            "short_side": 96,
            "long_side": 128,
        }
    )
