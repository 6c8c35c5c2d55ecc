import platform
import subprocess
import sys

import pytest
import torch

from retinanet.runtime import best_device


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


def test_best_device_is_a_gpu_if_there_is_one():
    assert best_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
