"""`retinanet predict`: images or videos in, files of detections out, which are written while the network runs."""

import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from retinanet.cli.inputs import read_ahead, relative_names
from retinanet.cli.result_files import ResultFiles
from retinanet.cli.video import Sampling, VideoFiles, open_video, sampled_frames
from retinanet.errors import ImageError
from retinanet.images.reading import Decoded
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector

# Results that wait to be written; their images are in memory.
MAX_UNWRITTEN = 2


def predict_images(
    detector: Detector, images: Sequence[Path], results: ResultFiles, select: Callable[[Detections], Detections]
) -> None:
    """Detect objects in each image, write the detections that `select` returns, print a line, and close the results.

    Images that cannot be read are printed on stderr; progress is shown there as well, after a second. Ctrl-C or a
    closed stdout end it, but the results of the images that the network has seen are written.
    """
    names = relative_names(images)
    with (
        _one_interrupt(),
        results,
        _progress(len(images), " images") as progress,
        _writer() as write,
        closing(read_ahead(images, detector.reading)) as decoded,
    ):

        def add(number: int, path: Path, image: Decoded, detections: Detections) -> None:
            line = results.add(number, path, names[path], image, detections)
            _print(progress, line, sys.stdout)

        def add_failed(path: Path, error: ImageError) -> None:
            results.add_failed(path, error)
            _print(progress, f"error: {error}", sys.stderr)

        # One image at a time: on CPUs, larger batches take as long for each image, or longer.
        for number, (path, image) in enumerate(decoded, start=1):
            if isinstance(image, ImageError):
                write(add_failed, path, image)
            else:
                write(add, number, path, image, select(detector([image.pixels])[0]))


def predict_videos(
    detector: Detector,
    videos: Sequence[Path],
    files: VideoFiles,
    select: Callable[[Detections], Detections],
    sampling: Sampling,
) -> list[Path]:
    """Detect objects in the frames of videos, and print a line for each video; returns those that cannot be read.

    The detections of the frames before an error, or before Ctrl-C, are written, and `files` are closed.
    """
    failed = []
    with _one_interrupt(), closing(files):
        for path in videos:
            try:
                frames = _predict_video(detector, path, files, select, sampling)
                print(f"{path}: {frames} frames", flush=True)
            except ImageError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
                failed.append(path)
    return failed


def _predict_video(
    detector: Detector,
    path: Path,
    files: VideoFiles,
    select: Callable[[Detections], Detections],
    sampling: Sampling,
) -> int:
    """The number of frames that were taken."""
    count = 0
    with open_video(path) as video:
        rate = sampling.rate(video.rate)
        total = round(video.frame_count * rate / video.rate) or None
        try:
            with _progress(total, " frames") as progress, _writer() as write:
                for frame in sampled_frames(video, sampling):
                    write(files.add, video, frame, select(detector([frame.pixels])[0]), rate)
                    progress.update()
                    count += 1
        finally:
            files.end_video()
    return count


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Ignore a second Ctrl-C, which would cut off the last results; writing them takes a moment."""

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    # Python's own handler is not there if a parent process ignores Ctrl-C, or outside of the main thread.
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _progress(total: int | None, unit: str) -> tqdm:
    # A log file gets a line in a minute instead of ten in a second.
    interval = 0.1 if sys.stderr.isatty() else 60
    return tqdm(total=total, unit=unit, mininterval=interval, delay=1, leave=False, file=sys.stderr)


def _print(progress: tqdm, line: str, stream: TextIO) -> None:
    progress.update()
    # On a terminal, the bar stays below the lines.
    with progress.external_write_mode(file=stream) if sys.stderr.isatty() else nullcontext():
        print(line, file=stream, flush=True)


@contextmanager
def _writer() -> Iterator[Callable[..., None]]:
    """A function that runs another in a thread, in order; it waits if several do, and raises their errors.

    At the end, also after an error, all of them have run.
    """
    unwritten: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="write") as pool:

        def write(function: Callable[..., None], *arguments: object) -> None:
            unwritten.append(pool.submit(function, *arguments))
            while len(unwritten) > MAX_UNWRITTEN:
                unwritten.popleft().result()

        yield write
        for future in unwritten:
            future.result()
