import platform

import torch

from retinanet.tracking.environment import environment, environment_differences


def test_environment_has_the_machine_and_the_libraries_that_compute():
    here = environment(torch.device("cpu"))
    assert here["python"] == platform.python_version()
    assert f"{torch.get_num_threads()} threads" in here["processor"]
    assert here["device"] == "cpu"
    assert {"system", "torch", "numpy"} <= here.keys()


def test_environment_differences_name_what_changed():
    before = {"processor": "A", "torch": "2.13", "python": "3.11"}
    after = {"processor": "B", "torch": "2.13", "numpy": "2.3", "python": "3.11"}
    assert environment_differences(before, after) == ["processor: A -> B", "numpy: not recorded -> 2.3"]
    assert environment_differences(before, before) == []
