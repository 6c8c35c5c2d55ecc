import pytest
import torch
from support.squares import build_network
from torch import nn

from retinanet.training.optim import average_weights, build_optimizer, build_schedule, compute_type, fast_memory_format


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_optimizer_excludes_norms_and_biases_from_decay_and_scales_the_backbones_rate(small_settings, kind):
    model = build_network(small_settings, 1)
    optimizer = build_optimizer(model, kind, 0.1, 0.5, 0.01)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(groups) == len(list(model.parameters()))
    for parameter, rate, decay in (
        (model.box.last.weight, 0.1, 0.01),
        (model.box.last.bias, 0.1, 0),
        (model.box.tower[1].weight, 0.1, 0),  # GroupNorm
        (next(model.backbone.parameters()), 0.05, 0.01),
    ):
        group = groups[id(parameter)]
        assert (group["lr"], group["weight_decay"]) == (rate, decay)


@pytest.mark.parametrize(
    ("kind", "factors"),
    [
        ("constant", [0.5, 1, 1, 1, 1]),
        ("cosine", [0.5, 1, 1, 0.5, 0]),  # at steps 0, 1, 2, 14, 26 of 26, two of them warm-up
        ("multistep", [0.5, 1, 1, 1, 0.01]),
    ],
)
def test_schedule_warms_up_and_decays(kind, factors):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1)
    schedule = build_schedule(optimizer, kind, steps=26, warmup_steps=2)
    rates = []
    for _ in range(27):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert [rates[step] for step in (0, 1, 2, 14, 26)] == pytest.approx(factors)


def test_average_includes_buffers():
    model = nn.BatchNorm1d(1)
    averaged = average_weights(model, steps=1000)
    for value in (1.0, 2.0):
        model.running_mean.fill_(value)
        averaged.update_parameters(model)
    # The first update copies; the second keeps (1 + 1) / (10 + 1) of the old value.
    assert averaged.module.running_mean.item() == pytest.approx(1 * 2 / 11 + 2 * 9 / 11)


def test_memory_format_follows_the_device_and_the_kind_of_convolutions(monkeypatch):
    full = nn.Sequential(nn.Conv2d(4, 4, 3))
    depthwise = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1))
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for capability, full_format in (("AVX2", torch.contiguous_format), ("AVX512", torch.channels_last)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda name=capability: name)
        assert fast_memory_format(full, cpu) == full_format
        assert fast_memory_format(depthwise, cpu) == torch.channels_last
        assert fast_memory_format(full, gpu) == torch.channels_last


def test_memory_format_avoids_the_channels_last_crash_of_narrow_strided_convolutions(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    narrow, wide = (nn.Sequential(nn.Conv2d(channels, 48, 1, stride=2)) for channels in (3, 16))
    assert fast_memory_format(narrow, torch.device("cpu")) == torch.contiguous_format
    assert fast_memory_format(narrow, torch.device("cuda")) == torch.channels_last
    assert fast_memory_format(wide, torch.device("cpu")) == torch.channels_last


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [
        ("AMD EPYC", "avx512_bf16", torch.bfloat16),
        ("Intel Xeon", "amx_bf16", torch.bfloat16),
        ("Intel Xeon", "avx512_bf16", torch.float32),  # slower than float32
        ("AMD EPYC", "avx2", torch.float32),  # emulated
    ],
)
def test_auto_precision_is_bfloat16_where_the_processor_is_faster_in_it(monkeypatch, name, capability, expected):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"cpu_name": name, capability: True})
    assert compute_type("auto", torch.device("cpu")) == expected
