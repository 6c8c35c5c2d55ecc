import pytest
import torch
from support.squares import CPU, INPUT_SIZE, PARAMS, build_network, make_squares, small_network

from retinanet.config.params import load_params
from retinanet.recipe import speed
from retinanet.recipe.speed import TIMED_STEPS, WARM_UP_STEPS, busy_machine, measure_speed


def test_steps_and_inference_are_timed(tmp_path, monkeypatch):
    """On a clock that advances by 1 s with each reading, every step takes 1 s and an image 1/6 s."""
    monkeypatch.chdir(tmp_path)
    squares = make_squares(tmp_path)
    params = load_params(PARAMS)
    params = params.model_copy(update={"runtime": params.runtime.model_copy(update={"workers": 0})})
    now = iter(range(10_000))
    monkeypatch.setattr(speed.time, "perf_counter", lambda: float(next(now)))
    taken = []
    step = speed.train_step
    monkeypatch.setattr(speed, "train_step", lambda *args: taken.append(1) or step(*args))
    torch.manual_seed(0)
    measured = measure_speed(build_network(small_network(), 1), params, squares, INPUT_SIZE, CPU)
    assert len(taken) == WARM_UP_STEPS + TIMED_STEPS
    assert measured.step_s == 1.0
    assert measured.image_s == 1 / min(6, len(squares.images))


@pytest.mark.parametrize(("percent", "warning"), [(25.0, ""), (26.0, "other work takes 26% of this machine's cores")])
def test_a_busy_machine_is_a_warning(monkeypatch, percent, warning):
    monkeypatch.setattr("psutil.cpu_percent", lambda seconds: percent)
    assert busy_machine().startswith(warning) and bool(busy_machine()) == bool(warning)
