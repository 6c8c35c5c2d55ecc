"""Data-parallel training in several processes that torchrun starts; rank 0 writes and tracks."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


class World(NamedTuple):
    """This process's rank among `size` processes."""

    rank: int
    size: int


def is_started() -> bool:
    """Whether torchrun started this process."""
    return "LOCAL_RANK" in os.environ


def world() -> World:
    return World(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else World(0, 1)


@contextmanager
def process_group() -> Iterator[World]:
    """Join the processes that torchrun started; without torchrun, nothing happens.

    If the block fails, only the first process to fail raises its error. The others, which fail with the same error or
    because a peer is gone, exit with code 1 and print nothing.
    """
    if not is_started():
        yield world()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    # One GPU for each process, or the CPU for all: NCCL refuses two processes on one GPU.
    on_gpus = torch.cuda.is_available() and torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    store, rank, size = next(dist.rendezvous("env://"))
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", store=store, rank=rank, world_size=size)
    try:
        yield world()
    except BaseException as error:
        # Exits count as well: peers that a signal has not reached yet fail when this process is gone.
        if not _is_first_failure(store) and isinstance(error, Exception):
            raise SystemExit(1) from error
        raise
    finally:
        dist.destroy_process_group()


def data_parallel(network: nn.Module, device: torch.device) -> nn.Module:
    """Wrap the network so that gradients are averaged over all processes; alone, return it as it is."""
    if world().size == 1:
        return network
    return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)


def local_gradients(network: nn.Module) -> AbstractContextManager:
    """A context in which backward adds to the process's own gradients and does not average them."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()


def all_reduce_max(number: int) -> int:
    """The largest of the processes' numbers; every process must call it."""
    if world().size == 1:
        return number
    value = torch.tensor(number)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)


def all_reduce_mean(values: torch.Tensor) -> torch.Tensor:
    """The mean over the processes; every process must call it."""
    return all_reduce_sum(values) / world().size if world().size > 1 else values


def all_reduce_sum(values: torch.Tensor) -> torch.Tensor:
    """The sum over the processes; every process must call it."""
    if world().size == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values


def barrier() -> None:
    """Wait until every process calls it."""
    if world().size > 1:
        dist.barrier()


def all_gather(rows: list) -> list:
    """The lists of all processes joined in the order of ranks; every process must call it."""
    if world().size == 1:
        return rows
    gathered: list = [None] * world().size
    dist.all_gather_object(gathered, rows)
    return [row for rows_of_rank in gathered for row in rows_of_rank]


def broadcast(value: T | None) -> T | None:
    """The value of rank 0; every process must call it."""
    if world().size == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def _is_first_failure(store: dist.Store) -> bool:
    try:
        return store.add("retinanet/failures", 1) == 1
    except RuntimeError:  # the launcher, which keeps the store, is gone
        return True
