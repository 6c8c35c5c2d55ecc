import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from retinanet.training.process import StopSignal, best_device, keep_freed_memory

OWN = "from retinanet.training.process import *; import time, signal, os\n"


def program(code: str) -> subprocess.Popen:
    """A Python that says 'ready' once it runs the code."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWN + code], stdout=subprocess.PIPE, text=True, env=os.environ | {"DVC_STAGE": "train"}
    )
    assert process.stdout.readline() == "ready\n"
    return process


WORKING = """
stop = StopSignal()
print("ready", flush=True)
for _ in range(600):
    time.sleep(0.05)
    if stop.number:
        print("saved", flush=True)
        raise SystemExit(128 + stop.number)
"""
VALIDATING = """
stop = StopSignal()
with stop.at_once(lambda: print("saved", flush=True)):
    print("ready", flush=True)
    time.sleep(30)
"""


@pytest.mark.parametrize("code", [WORKING, VALIDATING])
@pytest.mark.parametrize(("sent", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_answered_between_steps_and_at_once_while_validating(code, sent, exit_code):
    with program(code) as process:
        process.send_signal(sent)
        assert process.stdout.read() == "saved\n"
        assert process.wait(10) == exit_code


def test_a_second_signal_ends_it_there():
    with program('stop = StopSignal()\nprint("ready", flush=True)\ntime.sleep(3)\nprint("still here")') as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stdout.read() == ""


def test_without_signals_nothing_is_caught():
    before = signal.getsignal(signal.SIGTERM)
    assert StopSignal(()).number == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_training_ends_with_the_dvc_that_started_it(tmp_path):
    # A `dvc` that starts a trainer, says who it is, and waits.
    dvc = tmp_path / "dvc"
    trainer = OWN + 'stop_with_dvc(0.05)\nprint("ready", os.getpid(), flush=True)\ntime.sleep(30)'
    dvc.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {trainer!r}])\n")
    with subprocess.Popen(
        [sys.executable, str(dvc)], stdout=subprocess.PIPE, text=True, env=os.environ | {"DVC_STAGE": "train"}
    ) as parent:
        child = psutil.Process(int(parent.stdout.readline().split()[1]))
        parent.kill()
    assert child.wait(10) in (None, -signal.SIGTERM)


def test_memory_and_device():
    keep_freed_memory()
    assert best_device().type in ("cpu", "cuda")
