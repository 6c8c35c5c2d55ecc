import platform

from retinanet.tracking.environment import environment, environment_differences


def test_environment_has_the_machine_and_the_libraries_that_compute():
    here = environment()
    assert here["python"] == platform.python_version()
    assert here["processor"]
    assert {"instruction set", "device", "threads", "torch", "numpy"} <= here.keys()


def test_environment_differences_name_what_changed():
    before = {"processor": "A", "torch": "2.13", "python": "3.11"}
    after = {"processor": "B", "torch": "2.13", "numpy": "2.3", "python": "3.11"}
    assert environment_differences(before, after) == ["processor: A -> B", "numpy: not recorded -> 2.3"]
    assert environment_differences(before, before) == []
