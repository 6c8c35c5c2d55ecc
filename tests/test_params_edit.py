import shutil
from difflib import ndiff

import pytest

from retinanet.doctor.params_edit import write_params
from retinanet.errors import ParamsError
from retinanet.params import load_params


def test_only_the_named_values_change(tmp_path):
    path = tmp_path / "params.yaml"
    shutil.copy("params.yaml", path)
    before = path.read_text(encoding="utf-8").splitlines()
    write_params(path, {"model.anchors.sizes": [16, 32, 64, 128.5, 256], "model.anchors.ratios": [0.4, 1.0]})
    changes = [line for line in ndiff(before, path.read_text(encoding="utf-8").splitlines()) if line[0] in "+-"]
    assert [line[1:].strip() for line in changes if line[0] == "+"] == [
        "sizes: [16, 32, 64, 128.5, 256]",
        "ratios: [0.4, 1.0]",
    ]
    assert len(changes) == 4
    assert load_params(path).model.anchors.sizes == [16, 32, 64, 128.5, 256]


def test_comments_and_odd_layouts_stay(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(
        "# top\na:\n    b: [1, 2]   # why\n    c: 'x'       # that\n    d:\n    - 1\n    - 2 # two\n# end\n"
    )
    write_params(path, {"a.b": [3], "a.c": "y", "a.d": [7, 8]})
    assert (
        path.read_text()
        == '# top\na:\n    b: [3]   # why\n    c: "y"       # that\n    d:\n      [7, 8] # two\n# end\n'
    )


@pytest.mark.parametrize(("text", "key"), [("a: 1\n", "b"), ("a: 1\n", "a.b"), ("a: [\n", "a"), ("", "a")])
def test_what_cannot_be_changed_is_said_and_left(tmp_path, text, key):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=r"params\.yaml: cannot be changed"):
        write_params(path, {key: 3})
    assert path.read_text() == text
    assert [one.name for one in tmp_path.iterdir()] == ["params.yaml"]


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ParamsError, match="No such file"):
        write_params(tmp_path / "params.yaml", {"a": 1})
