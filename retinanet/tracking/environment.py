"""The machine and the libraries that a model is made with: two trainings agree bit for bit only if these are equal."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from retinanet.tracking.provenance import LIBRARIES


def environment() -> dict[str, str]:
    """Processor, instruction set, device, threads, Python and the libraries that compute."""
    import torch

    is_gpu = torch.cuda.is_available()
    return {
        "processor": _processor(),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if is_gpu else "cpu",
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def environment_differences(recorded: dict[str, str], here: dict[str, str]) -> list[str]:
    """A line for each entry that differs."""
    return [
        f"{name}: {recorded.get(name, 'not recorded')} -> {here.get(name, 'not recorded')}"
        for name in dict.fromkeys([*recorded, *here])
        if recorded.get(name) != here.get(name)
    ]


def _processor() -> str:
    """The processor's name, e.g. AMD EPYC 9B14."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if os.access(cpuinfo, os.R_OK) else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
