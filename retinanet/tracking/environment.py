"""The machine and the libraries that a model is made with: two trainings agree bit for bit only if these are equal."""

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

from retinanet.tracking.provenance import LIBRARIES

if TYPE_CHECKING:
    import torch


def environment(device: "torch.device") -> dict[str, str]:
    """Processor with instructions and threads, the device that trains, system, Python, and libraries that compute."""
    import torch

    from retinanet.runtime import processor

    return {
        "processor": processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
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
