import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from retinanet.errors import TrackingError
from retinanet.tracking.dvc_lock import changed_file, md5_of, read_lock, stages_before

LOCK = {
    "download": {"outs": [{"path": "data/raw"}]},
    "prepare": {"deps": [{"path": "data/raw"}], "outs": [{"path": "data/prepared"}]},
    "data-report": {"deps": [{"path": "data/prepared"}], "outs": [{"path": "reports/data"}]},
    "train": {"deps": [{"path": "data/prepared"}], "outs": [{"path": "models/a"}]},
    "export": {"deps": [{"path": "models/a"}], "outs": [{"path": "models/b"}]},
}


def test_stages_before_are_those_whose_outputs_are_used():
    assert list(stages_before(LOCK, ["models/a", "stages/export.py"])) == ["download", "prepare", "train"]


def test_read_lock_without_the_file_or_its_stages_is_an_error(tmp_path):
    for content in (None, "", "schema: '2.0'", "[]", "{"):
        path = tmp_path / "dvc.lock"
        if content is not None:
            path.write_text(content)
        with pytest.raises(TrackingError, match=r"dvc\.lock: cannot be read .* `dvc repro` writes it"):
            read_lock(path)


@pytest.mark.parametrize("changed", [None, "models/a.bin", "models/folder/deep/ä.txt", "removed"])
def test_changed_file_is_the_first_that_differs_from_what_dvc_wrote(tmp_path, monkeypatch, changed):
    monkeypatch.chdir(tmp_path)
    Path("models/folder/deep").mkdir(parents=True)
    Path("models/a.bin").write_bytes(b"\r\n")
    Path("models/folder/deep/ä.txt").write_text("x")
    Path("models/folder/b.txt").write_text("y")
    outs = ["models/a.bin", "models/folder"]
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"make": {"cmd": "true", "outs": outs}}}))
    for command in (["init", "--no-scm", "-q"], ["commit", "-f", "-q", "make"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], check=True, env={"DVC_NO_ANALYTICS": "1"})
    lock = read_lock(Path("dvc.lock"))
    if changed == "removed":
        shutil.rmtree("models/folder")
    elif changed:
        Path(changed).write_text("changed")
    expected = {None: None, "models/a.bin": "models/a.bin"}.get(changed, "models/folder")
    assert changed_file(lock, "make") == expected


def test_changed_file_of_a_stage_that_never_ran_is_dvc_lock():
    assert changed_file({}, "train") == "dvc.lock (no stage train)"


def test_md5_of_an_empty_folder_is_dvcs(tmp_path):
    assert md5_of(tmp_path) == "d751713988987e9331980363e24189ce.dir"
