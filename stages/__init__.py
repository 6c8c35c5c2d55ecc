"""The stages of the pipeline; `python -m stages.NAME` runs one, from wherever it is started.

Importing this package settles how torch's threads wait, which has to happen before torch is imported.
"""

from retinanet.threads import wait_without_spinning

wait_without_spinning()
