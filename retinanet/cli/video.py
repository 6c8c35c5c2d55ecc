"""Video files: frames in; JSON lines, and by choice an annotated video, out. OpenCV decodes and encodes by FFmpeg."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from retinanet.cli.growing_files import GrowingText, json_text
from retinanet.cli.result_files import numbered_paths
from retinanet.drawing import draw_detections
from retinanet.errors import ImageError, RetinanetError
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector
from retinanet.inference.results import coco_results

VIDEO_SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"))
# Some files do not have the number of their frames; it is estimated. With a smaller share of it a file is truncated.
MIN_SHARE = 0.95


class Sampling(NamedTuple):
    """Every n-th frame, or about `per_second` frames of each second if that is given."""

    every: int = 1
    per_second: float | None = None

    def takes(self, number: int, seconds: float, taken: int) -> bool:
        """Whether to take a frame after `taken` others. The frames of a second are counted from its begin."""
        if self.per_second is None:
            return number % self.every == 0
        # Half a millisecond: time stamps are rounded.
        return seconds + 0.0005 >= taken / self.per_second

    def rate(self, video_rate: float) -> float:
        """Frames per second that are taken of a video with video_rate."""
        return video_rate / self.every if self.per_second is None else min(self.per_second, video_rate)


class Frame(NamedTuple):
    """pixels (H, W, 3) uint8 RGB, upright; number from 0; seconds from the begin, by the file's time stamps."""

    number: int
    seconds: float
    pixels: np.ndarray


@dataclass(frozen=True)
class Video:
    """An open video file: its number of frames, which may be an estimate, 0 if unknown, and its frames per second."""

    path: Path
    capture: cv2.VideoCapture
    frame_count: int
    rate: float


def videos_in(names: Sequence[str]) -> list[Path]:
    """The names if they are those of video files, or []. Raises RetinanetError if only some are."""
    videos = [Path(name) for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES and not Path(name).is_dir()]
    if videos and len(videos) < len(names):
        raise RetinanetError(f"{videos[0]} is a video, other arguments are not; run the command for each kind alone")
    return videos


@contextmanager
def open_video(path: Path) -> Iterator[Video]:
    """Open a video file. Raises ImageError."""
    if not path.exists():
        raise ImageError(f"{path}: no such file")
    # FFmpeg's and OpenCV's own messages beside the error would say less.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise ImageError(f"{path}: not a video that FFmpeg decodes, or truncated; convert it, or fetch it again")
        count, rate = (capture.get(name) for name in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
        yield Video(path, capture, max(0, int(count)), rate if 0 < rate < 1000 else 25.0)
    finally:
        capture.release()


def sampled_frames(video: Video, sampling: Sampling) -> Iterator[Frame]:
    """The frames of a video that are taken. Raises ImageError at the end of a truncated file."""
    number = taken = 0
    while video.capture.grab():
        seconds = video.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if sampling.takes(number, seconds, taken):
            ok, bgr = video.capture.retrieve()
            if not ok:
                raise ImageError(f"{video.path}: frame {number} is damaged; fetch the file again")
            yield Frame(number, seconds, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            taken += 1
        number += 1
    if number < MIN_SHARE * video.frame_count - 1 or not number:
        raise ImageError(f"{video.path}: ends after {number} of {video.frame_count} frames, truncated; fetch it again")


class VideoFiles:
    """Files of the detections in videos, complete after each frame that is added, in a new folder.

    detections.jsonl has a line for each frame: video, frame from 0, seconds, width, height, and detections with class,
    category_id, bbox xywh and score. An annotated video is an .mp4 file (MPEG-4) of the frames that were taken.
    """

    def __init__(self, out: Path, detector: Detector, draw: bool):
        self.out, self.draw = out, draw
        self._class_names, self._category_ids = detector.class_names, detector.category_ids
        self._lines = GrowingText(out / "detections.jsonl")
        self._writer: cv2.VideoWriter | None = None

    def add(self, video: Video, frame: Frame, detections: Detections, rate: float) -> None:
        """Write the detections of a frame; rate is that of the annotated video."""
        height, width = frame.pixels.shape[:2]
        rows = coco_results(frame.number, detections, self._category_ids)
        names = [self._class_names[label] for label in detections.labels]
        found = [{"class": name, **row} for name, row in zip(names, rows, strict=True)]
        for row in found:
            del row["image_id"]
        head = {"video": str(video.path), "frame": frame.number, "seconds": round(frame.seconds, 3)}
        self._lines.add(json_text(head | {"width": width, "height": height, "detections": found}) + "\n")
        if self.draw:
            self._draw(video.path, frame.pixels, detections, rate)

    def end_video(self) -> None:
        """Complete the annotated video, if there is one."""
        if self._writer is not None:
            self._writer.release()
        self._writer = None

    def close(self) -> None:
        self.end_video()
        self._lines.close()

    def _draw(self, path: Path, pixels: np.ndarray, detections: Detections, rate: float) -> None:
        drawn = draw_detections(pixels, detections, self._class_names)
        if self._writer is None:
            target = next(path for path in numbered_paths(self.out / f"{path.stem}.mp4") if not path.exists())
            size = drawn.shape[1], drawn.shape[0]
            self._writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
            if not self._writer.isOpened():
                raise RetinanetError(f"{target}: OpenCV cannot write it; run the command without --draw")
        self._writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
