"""How long OpenMP's threads spin before they sleep. Call it before torch is imported, which reads it once."""

import os

# By default a waiting thread of GNU OpenMP spins 300,000 times, which takes cores from other processes: beside them,
# training steps take several times as long. Fewer spins than this cost a training alone more than they give.
SPIN_COUNT = "10000"


def wait_without_spinning() -> None:
    """Set GOMP_SPINCOUNT, unless it or OMP_WAIT_POLICY is set."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
