import platform
import subprocess
import sys

import pytest
import torch

from retinanet import runtime
from retinanet.errors import TrainingError
from retinanet.runtime import chosen_device, computes_like_cpu, small_step


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_keep_freed_memory_avoids_page_faults():
    """Without it, glibc returns 64 MB to the system when they are freed, and every page faults again."""
    code = """
import resource, torch
from retinanet.runtime import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
default = faults()
keep_freed_memory()
faults()  # the heap grows once
print(faults() < default / 5)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


@pytest.fixture
def machine(monkeypatch):
    """A function that sets the numbers of CUDA and Apple GPUs of the machine."""

    def set_gpus(cuda: int, mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    chosen_device.cache_clear()
    yield set_gpus
    chosen_device.cache_clear()


@pytest.mark.parametrize(
    ("name", "cuda", "mps", "expected"),
    [
        ("auto", 2, False, "cuda:0"),
        ("auto", 1, True, "cuda:0"),
        ("auto", 0, False, "cpu"),
        ("cpu", 2, False, "cpu"),
        ("cuda", 1, False, "cuda:0"),
        ("cuda:1", 2, False, "cuda:1"),
        ("mps", 0, True, "mps"),
    ],
)
def test_device_by_name_and_machine(machine, name, cuda, mps, expected):
    machine(cuda, mps)
    assert str(chosen_device(name)) == expected


@pytest.mark.parametrize(
    ("name", "cuda", "message"),
    [
        ("cuda", 0, "no CUDA GPU that PyTorch can use"),
        ("cuda:2", 2, "this machine has 2 CUDA GPUs; set it to auto"),
        ("mps", 0, "no Apple GPU"),
    ],
)
def test_a_device_that_the_machine_lacks_is_an_error(machine, name, cuda, message):
    machine(cuda, mps=False)
    with pytest.raises(TrainingError, match=message):
        chosen_device(name)


@pytest.mark.parametrize(("agrees", "expected"), [(True, "mps"), (False, "cpu")])
def test_auto_takes_an_apple_gpu_only_if_it_computes_like_the_cpu(machine, monkeypatch, capsys, agrees, expected):
    machine(0, mps=True)
    monkeypatch.setattr(runtime, "computes_like_cpu", lambda device: agrees)
    assert chosen_device().type == expected
    assert ("other losses and gradients" in capsys.readouterr().out) == (not agrees)


def test_a_wrong_gradient_is_noticed(monkeypatch):
    cpu = torch.device("cpu")
    assert computes_like_cpu(cpu)
    steps = [small_step(cpu), small_step(cpu)]
    steps[1][-2][0, 0, 0, 0] += 0.1 * steps[1][-2].abs().max()
    monkeypatch.setattr(runtime, "small_step", lambda device: steps.pop())
    assert not computes_like_cpu(cpu)
