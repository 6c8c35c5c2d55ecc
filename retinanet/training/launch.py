"""Training in several processes, started by torchrun, on one host or several."""

import logging
import os
import uuid

from retinanet.threads import share_cores

SEVERAL_HOSTS = "PET_NNODES"  # torchrun's environment variable for --nnodes


def needs_launch(processes: int) -> bool:
    """Whether training needs torchrun: several processes on this host, or torchrun's variables name several hosts."""
    return processes > 1 or SEVERAL_HOSTS in os.environ


def launch(module: str, processes: int) -> int:
    """Run `python -m module` in several processes under torchrun; returns the exit code of the first to fail, or 0.

    torchrun's own environment variables (PET_NNODES, PET_NODE_RANK, PET_MASTER_ADDR ...) add other hosts.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    # The process that failed prints its error; torchrun would add tracebacks of its own.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    share_cores(processes)
    alone = ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", f"--rdzv-id={uuid.uuid4().hex}"]
    hosts = [] if SEVERAL_HOSTS in os.environ else alone
    config, command, arguments = config_from_args(parse_args([*hosts, f"--nproc-per-node={processes}", "-m", module]))
    try:
        elastic_launch(config, command)(*arguments)
    except ChildFailedError as error:
        return error.get_first_failure()[1].exitcode
    except SignalException as error:
        return 128 + error.sigval
    return 0
