"""The threads of OpenMP, set by its environment variables. torch reads them once, when it is imported."""

import os

# By default a waiting thread of GNU OpenMP spins 300,000 times, which takes cores from other processes: beside them,
# training steps take several times as long. Fewer spins than this cost a training alone more than they give.
SPIN_COUNT = "10000"


def wait_without_spinning() -> None:
    """Set GOMP_SPINCOUNT, unless it or OMP_WAIT_POLICY is set."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def share_cores(processes: int) -> None:
    """Divide this machine's cores among processes that are started next, unless OMP_NUM_THREADS is set."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
