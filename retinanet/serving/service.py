"""From the images of a request to its answer: checks, decoding, tiles, network."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

import numpy as np

from retinanet.errors import ImageError
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector
from retinanet.inference.tiling import cut, join
from retinanet.serving.limits import Limits
from retinanet.serving.metrics import Metrics
from retinanet.serving.models import Models
from retinanet.serving.payload import check_image, decode_image, error_result, result_of
from retinanet.serving.schemas import DetectResponse, ImageResult
from retinanet.serving.worker import Worker

READERS = min(4, os.cpu_count() or 1)
# Decoded images that exist at once: one large one, and few small ones, so that memory is limited to some 500 MB.
LARGE_PIXELS = 4_000_000
MAX_SMALL, MAX_LARGE = 32, 1


class Overloaded(Exception):
    """More images wait than the limit."""


class Service:
    """Answers requests for detections; use it inside `running`."""

    def __init__(self, models: Models, limits: Limits, metrics: Metrics, batch_size: int):
        self.models, self.limits, self.metrics = models, limits, metrics
        self.stopping = asyncio.Event()  # set when requests that still wait are to be given up
        self._worker = Worker(batch_size, metrics)
        self._at_once = 2 * batch_size  # images or tiles of one request that are decoded or in the queue
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._small, self._large = asyncio.Semaphore(MAX_SMALL), asyncio.Semaphore(MAX_LARGE)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        network = asyncio.create_task(self._worker.run())
        try:
            yield
        finally:
            network.cancel()
            self.models.end()
            self._worker.close()
            self._readers.shutdown(wait=False, cancel_futures=True)

    def stop_in(self, seconds: float) -> None:
        """Give up waiting requests after so long; may be called from a signal handler."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self.stopping.set)

    def require_room(self, images: int) -> None:
        """Raise Overloaded if so many images more would be too many; a request alone is always accepted."""
        if self._waiting and self._waiting + images > self.limits.queue:
            raise Overloaded

    async def detect(self, images: Sequence[bytes | ImageError], threshold: float | None) -> DetectResponse:
        """The detections of encoded images with at least a score, or with that of their class. Raises Overloaded."""
        self.require_room(len(images))
        model = self.models.current
        thresholds = model.detector.thresholds if threshold is None else threshold
        at_once = asyncio.Semaphore(self._at_once)
        with self._counted(len(images)):
            async with asyncio.TaskGroup() as group:
                results = [
                    group.create_task(self._result(image, model.detector, thresholds, at_once)) for image in images
                ]
        return DetectResponse(
            model=model.name, version=model.version, results=[ImageResult(**result.result()) for result in results]
        )

    @contextmanager
    def _counted(self, images: int) -> Iterator[None]:
        self._waiting += images
        self.metrics.waiting.inc(images)
        try:
            yield
        finally:
            self._waiting -= images
            self.metrics.waiting.dec(images)

    async def _result(
        self,
        image: bytes | ImageError,
        detector: Detector,
        thresholds: float | Sequence[float],
        at_once: asyncio.Semaphore,
    ) -> dict:
        try:
            if isinstance(image, ImageError):
                raise image
            async with at_once:
                detections = await self._detections(image, detector)
        except ImageError as error:
            self.metrics.images.labels("refused").inc()
            return error_result(str(error))
        self.metrics.images.labels("detected").inc()
        return result_of(detections.above(thresholds), detector.class_names)

    async def _detections(self, content: bytes, detector: Detector) -> Detections:
        read = asyncio.get_running_loop().run_in_executor
        reading = detector.reading
        if self.limits.pixels:
            reading = reading._replace(max_pixels=self.limits.pixels)
        checked = content, detector.tiling, reading.max_pixels, self.limits.tiles
        pixels = await read(self._readers, check_image, *checked)
        async with self._large if pixels > LARGE_PIXELS else self._small:
            decoding = read(self._readers, decode_image, content, reading)
            try:
                image = await asyncio.shield(decoding)
            except asyncio.CancelledError:
                # The thread cannot be stopped: no other image may take the place of this one before it is done.
                await asyncio.wait({decoding})
                raise
            return await self._in_tiles(image, detector)

    async def _in_tiles(self, image: np.ndarray, detector: Detector) -> Detections:
        """Like detector([image]), but tile by tile, so that other requests and a cancellation come in between."""
        regions = cut(image.shape[0], image.shape[1], detector.tiling)
        found: list[Detections] = []
        for first in range(0, len(regions), self._at_once):
            tiles = [
                image[region.top : region.bottom, region.left : region.right]
                for region in regions[first : first + self._at_once]
            ]
            found += await asyncio.gather(*(self._worker.detect(tile, detector) for tile in tiles))
        return join(regions, found) if len(regions) > 1 else found[0]
