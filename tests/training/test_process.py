import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from retinanet.training.process import StopSignal

IMPORTS = "from retinanet.training.process import *; import time, signal, os\n"


def program(code: str) -> subprocess.Popen:
    """Start a Python process on the code, and wait until it prints 'ready'."""
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTS + code],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"DVC_STAGE": "train"},
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
def test_signal_saves_and_exits_after_the_step_or_at_once_in_validation(code, sent, exit_code):
    with program(code) as process:
        process.send_signal(sent)
        assert process.stdout.read() == "saved\n"
        assert process.wait(10) == exit_code


def test_second_signal_ends_the_process_at_once():
    with program('stop = StopSignal()\nprint("ready", flush=True)\ntime.sleep(3)\nprint("still here")') as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stdout.read() == ""


def test_second_signal_is_ignored_without_second_ends():
    with program(WORKING.replace("StopSignal()", "StopSignal(second_ends=False)").replace("0.05", "0.5")) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "saved\n"
        assert process.wait(10) == 130


def test_stop_signal_without_signals_installs_no_handler():
    before = signal.getsignal(signal.SIGTERM)
    assert StopSignal(()).number == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("name", "several"), [("dvc", False), ("launcher", True)])
def test_process_ends_when_its_parent_is_killed(tmp_path, name, several):
    # A program that starts a trainer, which prints its process id, and waits for it.
    parent_script = tmp_path / name
    trainer = IMPORTS + f'stop_with_parent({several}, 0.05)\nprint("ready", os.getpid(), flush=True)\ntime.sleep(30)'
    parent_script.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {trainer!r}])\n")
    with subprocess.Popen(
        [sys.executable, str(parent_script)], stdout=subprocess.PIPE, text=True, env=os.environ | {"DVC_STAGE": "train"}
    ) as parent:
        child = psutil.Process(int(parent.stdout.readline().split()[1]))
        parent.kill()
    assert child.wait(10) in (None, -signal.SIGTERM)


def test_process_without_a_dvc_parent_goes_on():
    """For example a stage that a program runs through DVC's Python API."""
    code = 'stop_with_parent(False, 0.05)\nprint("ready", flush=True)\ntime.sleep(0.5)\nprint("still here")'
    with program(code) as process:
        assert process.stdout.read() == "still here\n"
