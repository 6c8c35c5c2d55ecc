import os
import subprocess
import sys

import pytest

from retinanet.threads import SPIN_COUNT, share_cores


def spin_count(program: str, **environment: str) -> str:
    """GOMP_SPINCOUNT in a process that runs this program."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = f"{program}\nimport os; print(os.environ.get('GOMP_SPINCOUNT', 'unset'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]


COMMAND = """
import contextlib, sys
from retinanet.cli.main import main
sys.argv = ["retinanet", "datasets"]
with contextlib.suppress(SystemExit):
    main()
"""


@pytest.mark.parametrize("program", ["import stages", "import stages.paths", "import benchmarks", COMMAND])
def test_threads_spin_briefly_in_every_stage_command_and_benchmark(program):
    assert spin_count(program) == SPIN_COUNT


def test_the_environment_decides_if_it_says_how_threads_wait():
    assert spin_count("import stages", GOMP_SPINCOUNT="7") == "7"
    assert spin_count("import stages", OMP_WAIT_POLICY="passive") == "unset"


def test_the_setting_is_made_before_torch_is_loaded():
    code = "import sys, stages; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cores_are_shared_among_processes_unless_the_environment_decides(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    for before, after in ((None, "3"), ("5", "5")):
        monkeypatch.delenv("OMP_NUM_THREADS") if before is None else monkeypatch.setenv("OMP_NUM_THREADS", before)
        share_cores(2)
        assert os.environ["OMP_NUM_THREADS"] == after
