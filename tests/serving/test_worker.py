import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from retinanet.serving.metrics import Metrics
from retinanet.serving.worker import Worker

IMAGE = np.zeros((10, 10, 3), np.uint8)


@asynccontextmanager
async def running(batch_size: int):
    worker = Worker(batch_size, Metrics())
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        worker.close()


def test_images_that_wait_share_batches_up_to_the_limit(source):
    detector = source.open("1")

    async def main():
        async with running(batch_size=4) as worker:
            return await asyncio.gather(*(worker.detect(IMAGE, detector) for _ in range(6)))

    assert [len(found) for found in asyncio.run(main())] == [2] * 6
    assert source.network.batches == [4, 2]


def test_batch_has_images_of_one_model_only(source):
    detectors = [source.open("1"), source.open("2")]

    async def main():
        async with running(batch_size=4) as worker:
            await asyncio.gather(*(worker.detect(IMAGE, detectors[number % 2]) for number in range(4)))

    asyncio.run(main())
    assert source.network.batches == [2, 2]


def test_image_that_is_not_wanted_any_more_is_not_run(source):
    detector = source.open("1")

    async def main():
        async with running(batch_size=1) as worker:
            source.network.go.clear()
            first, second = (asyncio.create_task(worker.detect(IMAGE, detector)) for _ in range(2))
            await asyncio.to_thread(source.network.started.wait, 10)
            second.cancel()
            source.network.go.set()
            await first
            await worker.detect(IMAGE, detector)

    asyncio.run(main())
    assert source.network.batches == [1, 1]


def test_failure_in_a_batch_fails_only_the_images_that_fail_alone(source):
    detector = source.open("1")
    source.network.fail_on = lambda images: images > 1

    async def main():
        async with running(batch_size=3) as worker:
            return await asyncio.gather(*(worker.detect(IMAGE, detector) for _ in range(3)))

    assert [len(found) for found in asyncio.run(main())] == [2] * 3
    source.network.fail_on = lambda images: True
    with pytest.raises(RuntimeError):
        asyncio.run(main())
