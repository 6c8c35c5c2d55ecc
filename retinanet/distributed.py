"""Several processes as one trainer: torchrun starts them, rank 0 writes and tracks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class World(NamedTuple):
    """This process among `size`; rank 0 is the one that writes."""

    rank: int
    size: int


def is_started() -> bool:
    """Whether torchrun started this process."""
    return "LOCAL_RANK" in os.environ


def world() -> World:
    return World(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else World(0, 1)


@contextmanager
def process_group() -> Iterator[World]:
    """Join the processes that torchrun started beside this one; alone, nothing happens."""
    if not is_started():
        yield world()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    # One GPU for each process, or the processor for all: NCCL refuses two processes on one GPU.
    on_gpus = torch.cuda.is_available() and torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo")
    try:
        yield world()
    finally:
        dist.destroy_process_group()


def data_parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """The model, its gradients averaged over all processes."""
    if world().size == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def all_reduce_max(number: int) -> int:
    """The highest of the numbers that the processes bring; each must call."""
    if world().size == 1:
        return number
    value = torch.tensor(number)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)


def all_reduce_mean(values: torch.Tensor) -> torch.Tensor:
    """The mean over the processes."""
    return all_reduce_sum(values) / world().size if world().size > 1 else values


def all_reduce_sum(value: torch.Tensor) -> torch.Tensor:
    """The sum over the processes."""
    if world().size == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value


def barrier() -> None:
    """Go on when all processes have come here."""
    if world().size > 1:
        dist.barrier()


def all_gather(rows: list) -> list:
    """The rows of all processes, rank by rank; each must call."""
    if world().size == 1:
        return rows
    everything: list = [None] * world().size
    dist.all_gather_object(everything, rows)
    return [row for rows in everything for row in rows]
