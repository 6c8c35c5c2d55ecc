"""Time competitors by turns, each in a process of its own, so that other load falls on all of them."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

import torch

from retinanet.runtime import chosen_device

WARM_UP = 2  # the first steps choose algorithms and fill allocators
Step = Callable[[], object]
# Measures more when the steps have ended; it gets their median seconds.
Finish = Callable[[float], dict]


def by_turns(make: Callable[..., tuple[Step, Finish]], arguments: Sequence[tuple], steps: int) -> list[dict]:
    """For each arguments of `make`: the seconds of its steps, its peak memory in MB, and what its Finish returns."""
    spawn = multiprocessing.get_context("spawn")
    links = []
    for of_one in arguments:
        link, link_of_process = spawn.Pipe()
        spawn.Process(target=_work, args=(link_of_process, make, of_one), daemon=True).start()
        link_of_process.close()
        links.append(link)
    for number in range(WARM_UP + steps):
        for link in links:
            link.send(number < WARM_UP)
            link.recv()
    results = []
    # One after the other, since finishing and exiting take processor time.
    for link in links:
        link.send(None)
        results.append(link.recv())
    return results


def ratio(seconds: Sequence[float], of_ours: Sequence[float]) -> str:
    """How many times faster ours is: the median over pairs of steps, with the quartiles in brackets."""
    low, middle, high = statistics.quantiles(
        [theirs / ours for theirs, ours in zip(seconds, of_ours, strict=True)], n=4
    )
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def wait_for_device() -> None:
    """Until what was started on the device is done."""
    if chosen_device().type == "cuda":
        torch.cuda.synchronize()


def _work(link: Connection, make: Callable[..., tuple[Step, Finish]], arguments: tuple) -> None:
    """Make a step for each message (whether to leave it untimed); on None, send the results."""
    torch.manual_seed(0)
    step, finish = make(*arguments)
    seconds: list[float] = []
    while (warming_up := link.recv()) is not None:
        started = time.perf_counter()
        step()
        wait_for_device()
        if not warming_up:
            seconds.append(time.perf_counter() - started)
        link.send(None)
    link.send({"seconds": seconds, "megabytes": _peak_megabytes(), **finish(statistics.median(seconds))})


def _peak_megabytes() -> float:
    if chosen_device().type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
