import json
import os
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import psutil
import pytest
from PIL import Image
from support.toy_onnx import write_toy_onnx

from retinanet.cli.inputs import find_images
from retinanet.cli.main import main
from retinanet.cli.predict import predict_images
from retinanet.cli.result_files import ResultFiles
from retinanet.export.runtimes import load_detector
from retinanet.images.reading import STANDARD_READING
from retinanet.inference.detections import Detections


class OneDog:
    class_names = ("cat", "dog")
    category_ids = (3, 7)
    reading = STANDARD_READING

    def __call__(self, images):
        boxes = np.array([[1, 2, 5, 8], [0, 0, 1, 1]], np.float32)
        return [Detections(boxes, np.array([0.75, 0.1], np.float32), np.array([1, 0]))] * len(images)


@pytest.fixture
def folder(two_images):
    Path("broken.jpg").write_bytes(b"")
    write_toy_onnx(two_images / "toy.onnx")
    return two_images


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["retinanet", "predict", "--model", "toy.onnx", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


@pytest.fixture(autouse=True)
def not_in_background():
    """A shell lets the programs that it starts in the background ignore Ctrl-C, and they those that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(*arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen:
    command = [sys.executable, "-m", "retinanet.cli.main", "predict", "--model", "toy.onnx", *arguments]
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(root)}, text=True, stdout=subprocess.PIPE, stderr=stderr
    )


def above_03(detections: Detections) -> Detections:
    return detections.above(0.3)


def test_predict_images_writes_the_selected_detections_and_reports_unreadable_images(folder, capsys):
    results = ResultFiles(Path("out"), OneDog())
    predict_images(OneDog(), find_images(["a.png", "broken.jpg", "more"]), results, above_03)
    content, rows = (json.loads(Path(f"out/{name}.json").read_text()) for name in ("images", "detections"))
    assert [(image["id"], image["file_name"]) for image in content["images"]] == [(1, "a.png"), (3, "more/a.png")]
    assert [(row["image_id"], row["category_id"], row["bbox"]) for row in rows] == [
        (1, 7, [1, 2, 4, 6]),
        (3, 7, [1, 2, 4, 6]),
    ]
    assert [row["file_name"] for row in content["failed"]] == ["broken.jpg"]
    output = capsys.readouterr()
    assert output.out == "a.png: 1 dog: out/a.jpg\nmore/a.png: 1 dog: out/a-2.jpg\n"
    assert output.err == "error: broken.jpg: has 0 bytes; expected JPEG, PNG, TIFF …\n"


def test_command_names_the_unreadable_images_at_the_end_and_exits_with_1(folder, monkeypatch, capsys):
    Path("more/x.jpg").mkdir()
    assert run(monkeypatch, ".", "--out", "out", "--no-draw", "--format", "yolo", "--format", "csv") == 1
    output = capsys.readouterr()
    assert output.out.splitlines()[-1] == "2 of 4 images processed: out/detections.json"
    assert output.err.splitlines() == [
        "error: broken.jpg: has 0 bytes; expected JPEG, PNG, TIFF …",
        "error: more/x.jpg: is a folder, not an image; rename it",
        "error: 2 can't be read (`failed` in out/images.json): broken.jpg, more/x.jpg",
    ]
    written = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file())
    others = ["data.yaml", "detections.json", "images.json", "labels/a.txt", "labels/more/a.txt"]
    assert written == ["annotations.csv", "classes.txt", *others]


def test_command_replaces_no_image_of_the_user(folder, monkeypatch, capsys):
    before = Path("more/a.png").read_bytes()
    assert run(monkeypatch, "more", "--out", "more") == 1
    assert capsys.readouterr().err == (
        "error: more: has files already, and none is replaced; choose another folder with --out\n"
    )
    assert [path.name for path in Path("more").iterdir()] == ["a.png"] and Path("more/a.png").read_bytes() == before
    for number in (1, 2):
        assert run(monkeypatch, "more") == 0
        assert Path("predictions" if number == 1 else "predictions-2", "a.jpg").exists()


def test_command_with_names_that_share_a_label_file_starts_nothing(folder, monkeypatch, capsys):
    Image.new("RGB", (20, 10)).save("a.jpg")
    assert run(monkeypatch, "a.png", "a.jpg", "--format", "voc") == 1
    assert capsys.readouterr().err == "error: a.png and a.jpg would both have the label file of a; rename one\n"
    assert not Path("predictions").exists()


def test_agnostic_nms_drops_the_worse_of_two_boxes_of_other_classes(folder, monkeypatch):
    class CatAndDog(OneDog):
        thresholds = (0.3, 0.3)

        def __call__(self, images):
            boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8]], np.float32)
            return [Detections(boxes, np.array([0.9, 0.8], np.float32), np.array([0, 1]))]

    monkeypatch.setattr("retinanet.export.runtimes.load_detector", lambda *_: CatAndDog())
    for options, expected in ([], [3, 7]), (["--agnostic-nms", "0.5"], [3]), (["--agnostic-nms", "0.85"], [3, 7]):
        assert run(monkeypatch, "a.png", "--no-draw", "--out", f"out{len(options)}{options[-1:]}", *options) == 0
        rows = json.loads(Path(f"out{len(options)}{options[-1:]}/detections.json").read_text())
        assert [row["category_id"] for row in rows] == expected


def test_a_second_interrupt_does_not_cut_off_what_is_written(folder, monkeypatch):
    class InterruptedAtTheThird(OneDog):
        count = 0

        def __call__(self, images):
            self.count += 1
            if self.count == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return super().__call__(images)

    add = ResultFiles.add

    def interrupted_add(*arguments):
        os.kill(os.getpid(), signal.SIGINT) if arguments[1] == 2 and detector.count == 3 else None
        return add(*arguments)

    for i in range(5):
        Image.new("RGB", (20, 10)).save(f"more/{i}.png")
    detector, results = InterruptedAtTheThird(), ResultFiles(Path("out"), OneDog(), ["coco", "voc"])
    monkeypatch.setattr(ResultFiles, "add", interrupted_add)
    with pytest.raises(KeyboardInterrupt):
        predict_images(detector, find_images(["more"]), results, above_03)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert results.done == 2
    assert [image["id"] for image in json.loads(Path("out/images.json").read_text())["images"]] == [1, 2]
    assert len(json.loads(Path("out/annotations.json").read_text())["images"]) == 2
    assert len(list(Path("out/Annotations").iterdir())) == len(list(Path("out").glob("*.jpg"))) == 2


def test_after_ctrl_c_the_results_of_all_formats_are_complete(folder):
    for i in range(4000):
        os.link("a.png", f"more/{i:04}.png")
    formats = [word for name in ("coco", "voc", "yolo", "csv", "label-studio", "cvat") for word in ("--format", name)]
    with start("more", "--out", "out", *formats) as process:
        for _ in range(30):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    done = int(errors.split()[0])
    assert errors.splitlines() == [
        f"{done} of 4001 images processed, their results are complete: out",
        "interrupted",
    ]
    assert 28 < done < 4001
    images, results, coco, tasks = (
        json.loads(Path("out", f"{name}.json").read_text()) for name in ("images", "detections", "annotations", "tasks")
    )
    assert len(images["images"]) == len(results) == len(coco["images"]) == len(coco["annotations"]) == done
    assert len(tasks) == len(Path("out/annotations.csv").read_text().splitlines()) - 1 == done
    assert len(ElementTree.parse("out/annotations.xml").findall("image")) == done
    for folder_of_format, pattern in (("Annotations", "*.xml"), ("labels", "*.txt"), (".", "*.jpg")):
        assert sum(path.stat().st_size > 0 for path in Path("out", folder_of_format).glob(pattern)) == done


def test_a_closed_stdout_is_one_line_and_leaves_complete_results(folder):
    for i in range(500):
        os.link("a.png", f"more/{i}.png")
    with start("more", "--out", "out", "--no-draw") as process:
        for _ in range(3):
            process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait() == 141, errors
    results = json.loads(Path("out/detections.json").read_text())
    assert errors == f"stdout was closed: {len(results)} of 501 images processed, their results are complete: out\n"


def test_results_do_not_depend_on_the_other_images(folder, monkeypatch):
    Image.new("RGB", (300, 20)).save("more/b.png")
    run(monkeypatch, "a.png", "--out", "alone", "--no-draw")
    run(monkeypatch, "more/b.png", "more/a.png", "a.png", "--out", "together", "--no-draw")
    alone, together = (json.loads(Path(name, "detections.json").read_text()) for name in ("alone", "together"))
    assert [row | {"image_id": 1} for row in together if row["image_id"] == 3] == alone


def test_memory_does_not_grow_with_the_number_of_images(folder):
    Image.new("RGB", (600, 500)).save("large.png")  # 0.9 MB
    for i in range(400):
        os.link("large.png", f"more/{i}.png")
    detector, memory = load_detector("toy.onnx"), []

    class Measured:
        class_names, category_ids, reading = detector.class_names, detector.category_ids, detector.reading

        def __call__(self, images):
            memory.append(psutil.Process().memory_info().rss)
            return detector(images)

    results = ResultFiles(Path("out"), detector, ["coco", "csv"], draw=False)
    predict_images(Measured(), find_images(["more"]), results, above_03)
    assert len(memory) == 401
    assert max(memory[200:]) - max(memory[:200]) < 20e6


def test_names_that_the_terminal_cannot_show_are_escaped(folder):
    name = os.fsdecode(b"caf\xe9.png")
    os.link("a.png", name)
    with start(name, "--no-draw") as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "caf\\udce9.png: 1 cat" in output


def test_a_terminal_shows_images_per_second_and_the_time_left(folder):
    for i in range(8):
        os.link("a.png", f"more/{i}.png")
    terminal, stderr = os.openpty()
    termios.tcsetwinsize(stderr, (24, 100))
    with start("more", "--no-draw", stderr=stderr) as process:
        os.close(stderr)
        assert len(process.stdout.readlines()) == 12  # with the model, the minimum scores, and the summary
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert re.search(r"8/9 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+ images/s\]", shown), shown
