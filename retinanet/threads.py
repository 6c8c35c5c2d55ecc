"""How torch's threads wait for each other. To be called before torch is imported: OpenMP reads it when it is loaded."""

import os

# GNU OpenMP lets a thread spin 300,000 times before it sleeps, which takes the core from whoever else has work: beside
# another training, steps then take several times as long. So short a spin costs a training that is alone nothing.
SPIN_COUNT = "1000"


def wait_without_spinning() -> None:
    """Make OpenMP's threads sleep soon while they wait, unless the environment says how they wait."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
