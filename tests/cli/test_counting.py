import re

import numpy as np
import pytest
from PIL import Image
from support.toy_onnx import write_toy_onnx

from retinanet.cli import main
from retinanet.cli.counting import draw_images, read_counted
from retinanet.errors import RetinanetError

NAMES = [f"{i}.png" for i in range(12)]
HEADER = "image,cat,dog\n"


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["retinanet", "count", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main.main()
    return end.value.code or 0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in NAMES:
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(f"photos/{name}")
    write_toy_onnx(tmp_path / "toy.onnx")
    return tmp_path


def test_a_second_draw_continues_the_first(tmp_path):
    once, twice = tmp_path / "once.csv", tmp_path / "twice.csv"
    assert draw_images(once, NAMES, ["cat", "dog"], 7) == 7
    assert draw_images(twice, NAMES, ["cat", "dog"], 3) == 3
    twice.write_text(twice.read_text().replace(",,", ",2,1", 1))
    assert draw_images(twice, NAMES, ["cat", "dog"], 4) == 4
    assert twice.read_text() == once.read_text().replace(",,", ",2,1", 1)
    assert draw_images(twice, NAMES, ["cat", "dog"], 20) == 5  # all that were left


def test_a_draw_keeps_what_the_table_has(tmp_path):
    path, text = tmp_path / "counted.csv", "note;image;cat;dog\nblurred;3.png;1;0"
    path.write_text(text)
    draw_images(path, NAMES, ["cat", "dog"], 2)
    kept, *added = path.read_text().removeprefix("note;image;cat;dog\n").splitlines()
    assert kept == "blurred;3.png;1;0" and all(re.fullmatch(r";\d+\.png;;", line) for line in added)


def test_too_few_counted_images_are_an_error_before_the_detector_runs(folder, monkeypatch, capsys):
    (folder / "counted.csv").write_text(HEADER + "0.png,1,1\n")
    monkeypatch.setattr("retinanet.cli.counting.count_detections", None)
    assert run(monkeypatch, "photos", "--model", "toy.onnx") == 1
    assert (
        "counted.csv: 1 readable images are counted, an interval needs 10; write more numbers"
        in capsys.readouterr().err
    )


def test_count_from_the_draw_to_the_total(folder, monkeypatch, capsys):
    """The toy model finds a cat on every image; one of the images has two."""
    assert run(monkeypatch, "photos", "--model", "toy.onnx", "--draw", 11) == 0
    assert "11 images, drawn at random, added to counted.csv" in capsys.readouterr().out
    table = (folder / "counted.csv").read_text().replace(",,", ",1,0").replace(",1,0", ",2,0", 1)
    (folder / "counted.csv").write_text(table)
    assert run(monkeypatch, "photos", "--model", "toy.onnx") == 0
    out = capsys.readouterr().out
    assert "12 images, 11 of them counted by hand" in out
    assert "cat: 13 (95% interval 12 to 14; 12 detected)" in out
    assert "dog: 0 (95% interval 0 to 1; 0 detected)" in out


def test_images_that_cannot_be_read_are_not_in_the_total(folder, monkeypatch, capsys):
    run(monkeypatch, "photos", "--model", "toy.onnx", "--draw", 12)
    (folder / "counted.csv").write_text((folder / "counted.csv").read_text().replace(",,", ",1,0"))
    (folder / "photos" / "5.png").write_text("no image")
    assert run(monkeypatch, "photos", "--model", "toy.onnx") == 1
    found = capsys.readouterr()
    assert "11 images, 11 of them counted by hand\ncat: 11 (95% interval 11 to 11" in found.out
    assert "1 can't be read and are not in the totals: photos/5.png" in found.err


def test_rows_without_numbers_are_not_counted_yet_and_semicolons_are_read(tmp_path):
    path = tmp_path / "counted.csv"
    path.write_text("\ufeffimage;cat;dog\n" + "".join(f"{name};1;0\n" for name in NAMES[:10]) + "11.png;;\n", "utf-8")
    assert read_counted(path, NAMES, ["cat", "dog"]) == {name: [1, 0] for name in NAMES[:10]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "0.png,1,\n", "0.png, dog: '' is no count; write a number, 0 if there is none"),
        (HEADER + "0.png,1,-1\n", "0.png, dog: '-1' is no count"),
        (HEADER + "zero.png,1,1\n", "zero.png is not among the images"),
        ("image,cat\n0.png,1\n", "no column dog; it needs image and one for each class"),
        ("name,cat,dog\n0.png,1,1\n", "a row has no image"),
        (None, "cannot be read as a table"),
    ],
)
def test_what_is_wrong_with_the_table_is_said(tmp_path, text, message):
    path = tmp_path / "counted.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RetinanetError, match=f"counted.csv: .*{message}"):
        read_counted(path, NAMES, ["cat", "dog"])
