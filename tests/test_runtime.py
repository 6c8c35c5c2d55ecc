import platform
import subprocess
import sys

import pytest
import torch

from retinanet.runtime import best_device


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is a setting of glibc")
def test_freed_memory_is_kept_for_the_next_step():
    """Without it, glibc gives the pages of 64 MB back at once, and each is a page fault again."""
    counted = """
import resource, torch
from retinanet.runtime import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
given_back = faults()
keep_freed_memory()
faults()  # the heap grows once
print(faults() < given_back / 5)
"""
    assert subprocess.run([sys.executable, "-c", counted], capture_output=True, text=True).stdout == "True\n"


def test_the_device_is_a_gpu_where_there_is_one():
    assert best_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
