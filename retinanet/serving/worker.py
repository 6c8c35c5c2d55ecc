"""One thread runs the network, on batches of the images that wait."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector
from retinanet.serving.metrics import Metrics


@dataclass(frozen=True)
class _Waiting:
    image: np.ndarray
    detector: Detector
    found: asyncio.Future[Detections]


class Worker:
    """A first-in, first-out queue in front of the network; `run` must be running for it to move."""

    def __init__(self, batch_size: int, metrics: Metrics):
        self.batch_size, self._metrics = batch_size, metrics
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")

    async def detect(self, image: np.ndarray, detector: Detector) -> Detections:
        """The detections of an image. If this is cancelled, the image is dropped from the queue."""
        found = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Waiting(image, detector, found))
        return await found

    async def run(self) -> None:
        """Run the network, on up to batch_size of the images that wait, until this is cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self.batch_size and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            batch = [waiting for waiting in batch if not waiting.found.done()]
            # Two models are in use for a moment when a version replaces another.
            for detector in {id(waiting.detector): waiting.detector for waiting in batch}.values():
                await self._run_batch(detector, [waiting for waiting in batch if waiting.detector is detector])

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run_batch(self, detector: Detector, batch: Sequence[_Waiting]) -> None:
        started = perf_counter()
        images = [waiting.image for waiting in batch]
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, detector, images)
        except Exception as error:
            if len(batch) > 1:  # one image must not fail the others
                for waiting in batch:
                    await self._run_batch(detector, [waiting])
            elif not batch[0].found.done():
                batch[0].found.set_exception(error)
            return
        self._metrics.batches.observe(len(batch))
        self._metrics.network_seconds.observe(perf_counter() - started)
        for waiting, detections in zip(batch, found, strict=True):
            if not waiting.found.done():
                waiting.found.set_result(detections)
