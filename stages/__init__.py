"""The stages of the pipeline; `python -m stages.NAME` runs one from the repository's root.

Importing this package sets OpenMP's spin count, which must happen before torch is imported.
"""

from retinanet.threads import wait_without_spinning

wait_without_spinning()
