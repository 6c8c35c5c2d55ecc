"""The folders in which the stages run."""

import pytest
from support.prepare_workspace import (
    Workspace,
    sample_objects,
    write_coco,
)
from support.repository import BIG, ZIP, Repository
from support.served import serving

from retinanet.fetch import downloads
from stages import download


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("RETINANET_TRACEBACK", raising=False)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    return Repository(tmp_path / "repository")


@pytest.fixture
def server():
    with serving() as served:
        served.files |= {"set.zip": ZIP, "big.zip": BIG}
        yield served


@pytest.fixture
def run(capsys):
    """Run the stage in this process; its exit code and stderr."""

    def stage() -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            download.main()
        return end.value.code or 0, capsys.readouterr().err

    return stage


@pytest.fixture
def workspace(tmp_path, monkeypatch, capsys) -> Workspace:
    return Workspace(tmp_path, monkeypatch, capsys)


@pytest.fixture
def coco(workspace) -> Workspace:
    write_coco(workspace.raw, sample_objects())
    return workspace
