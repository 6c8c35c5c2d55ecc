import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.toy_onnx import write_toy_onnx

from retinanet.cli.main import main
from retinanet.cli.video import Sampling, open_video, sampled_frames, videos_in
from retinanet.errors import ImageError, RetinanetError

# FFmpeg reads it once in a process, here before open_video sets it.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".mkv": "MJPG", ".webm": "VP80"}
WIDTH, HEIGHT, RATE = 64, 48, 10
ALL = Sampling()


def write_video(path: Path, count: int = 20) -> Path:
    """Frame i is gray of brightness 10 i, with a white upper left quarter; 10 frames in a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODECS[path.suffix]), RATE, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for i in range(count):
        frame = np.full((HEIGHT, WIDTH, 3), 10 * i, np.uint8)
        frame[: HEIGHT // 2, : WIDTH // 2] = 255
        writer.write(frame)
    writer.release()
    return path


def rotate(path: Path) -> None:
    """Have an .mp4 file shown turned by a quarter clockwise, as phones do, by the matrix of its tkhd."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    turned = (0, 1, 0, -1, 0, 0, 0, 0, 0x4000)
    content[matrix : matrix + 36] = b"".join((number * 0x10000).to_bytes(4, "big", signed=True) for number in turned)
    path.write_bytes(content)


def read(path: Path, sampling: Sampling = ALL) -> list:
    with open_video(path) as video:
        return list(sampled_frames(video, sampling))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, with clip.avi of 20 frames and toy.onnx, which finds a cat in every frame."""
    monkeypatch.chdir(tmp_path)
    write_toy_onnx(tmp_path / "toy.onnx")
    write_video(Path("clip.avi"))
    return tmp_path


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["retinanet", "predict", "--model", "toy.onnx", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


def lines(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@pytest.mark.parametrize("suffix", CODECS)
def test_frames_have_their_numbers_times_and_pixels(tmp_path, suffix):
    frames = read(write_video(tmp_path / f"clip{suffix}"))
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.seconds for frame in frames] == pytest.approx([i / 10 for i in range(20)], abs=0.002)
    assert [frame.pixels[-4, -4].mean() for frame in frames] == pytest.approx([10 * i for i in range(20)], abs=6)


@pytest.mark.parametrize(
    ("sampling", "numbers"),
    [(Sampling(every=7), [0, 7, 14]), (Sampling(per_second=2), [0, 5, 10, 15]), (Sampling(per_second=100), range(20))],
)
def test_sampling_takes_every_nth_frame_or_some_of_each_second(tmp_path, sampling, numbers):
    assert [frame.number for frame in read(write_video(tmp_path / "clip.avi"), sampling)] == list(numbers)


def test_a_video_of_a_turned_phone_is_upright(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    rotate(path)
    pixels = read(path)[0].pixels
    assert pixels.shape == (WIDTH, HEIGHT, 3)
    assert pixels[4, -4].min() > 200 and pixels[4, 4].max() < 50  # upper left before, upper right now


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
def test_a_truncated_video_is_one_line(tmp_path, monkeypatch, capfd, suffix, share):
    monkeypatch.chdir(tmp_path)
    write_toy_onnx(tmp_path / "toy.onnx")
    path = write_video(Path(f"clip{suffix}"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    capfd.readouterr()  # OpenCV's messages about the codec
    assert run(monkeypatch, path.name) == 1
    output = capfd.readouterr()
    pattern = rf"error: {path.name}: (not a video that FFmpeg decodes, or truncated|ends after \d+ of 20 frames).*\n"
    assert re.fullmatch(pattern, output.err), output.err
    assert output.out.splitlines()[-1] == "0 of 1 videos processed: predictions/detections.jsonl"
    assert len(lines("predictions/detections.jsonl")) < 20


def test_a_missing_video_is_named():
    with pytest.raises(ImageError, match=r"^no\.mp4: no such file$"), open_video(Path("no.mp4")):
        pass


def test_videos_and_images_are_not_mixed(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    assert videos_in(["a.png", str(tmp_path / "folder.mp4")]) == []
    assert videos_in(["a.MP4", "b.webm"]) == [Path("a.MP4"), Path("b.webm")]
    with pytest.raises(RetinanetError, match=r"^a\.mp4 is a video, other arguments are not"):
        videos_in(["a.png", "a.mp4"])


def test_command_writes_a_line_for_each_frame(folder, monkeypatch, capsys):
    assert run(monkeypatch, "clip.avi", "--every", "8", "--out", "out") == 0
    first, second, third = lines("out/detections.jsonl")
    cat = {"class": "cat", "category_id": 3, "bbox": [16, 12, 32, 24], "score": 0.9}
    assert first == {
        "video": "clip.avi",
        "frame": 0,
        "seconds": 0.0,
        "width": WIDTH,
        "height": HEIGHT,
        "detections": [cat],
    }
    assert [(line["frame"], line["seconds"]) for line in (second, third)] == [(8, 0.8), (16, 1.6)]
    assert [path.name for path in Path("out").iterdir()] == ["detections.jsonl"]
    output = capsys.readouterr()
    assert output.out.splitlines()[-2:] == ["clip.avi: 3 frames", "1 of 1 videos processed: out/detections.jsonl"]
    assert output.err == ""


def test_annotated_videos_have_the_frames_that_were_taken(folder, monkeypatch):
    shutil.copytree(folder, folder / "more", dirs_exist_ok=True, ignore=lambda *_: ["more", "toy.onnx"])
    assert run(monkeypatch, "clip.avi", "more/clip.avi", "--fps", "5", "--draw", "--out", "out") == 0
    for name in ("clip.mp4", "clip-2.mp4"):
        frames = read(Path("out", name))
        assert [frame.seconds for frame in frames] == pytest.approx([i / 5 for i in range(10)], abs=0.002)
        # Enlarged 8 times; the box of the toy model is yellow.
        assert frames[3].pixels.shape == (8 * HEIGHT, 8 * WIDTH, 3)
        red, green, blue = frames[3].pixels[12 * 8 + 100, 16 * 8].astype(int)
        assert min(red, green) > blue + 60


def test_one_broken_video_does_not_stop_the_others_and_ffmpeg_says_nothing(folder):
    Path("broken.mp4").write_bytes(b"Dear diary")
    command = [sys.executable, "-m", "retinanet.cli.main", "predict", "--model", "toy.onnx", "broken.mp4", "clip.avi"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("OPENCV_FFMPEG_LOGLEVEL")
    done = subprocess.run([*command, "--out", "out"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == ["clip.avi: 20 frames", "1 of 2 videos processed: out/detections.jsonl"]
    assert done.stderr.startswith("error: broken.mp4: not a video") and done.stderr.count("\n") == 1
    assert len(lines("out/detections.jsonl")) == 20


@pytest.mark.parametrize("arguments", [["clip.avi", "--format", "coco"], ["toy.png", "--every", "2"]])
def test_options_of_the_other_kind_are_errors(folder, monkeypatch, capsys, arguments):
    assert run(monkeypatch, *arguments) == 1
    assert re.fullmatch(
        r"error: --(format is for images|every and --fps are for videos); .*\n", capsys.readouterr().err
    )
    assert not Path("predictions").exists()
