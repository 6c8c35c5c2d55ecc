"""Against a repository made here, with git and DVC."""

import subprocess

import pytest
from dvc.repo import Repo
from support.packed import FILES, files_in, tar_bytes, zip_bytes
from support.repository import EARLIER, WEIGHTS, Repository

from retinanet.errors import DownloadError
from retinanet.fetch.archives import Limits
from retinanet.fetch.dvc_tracked import fetch_tracked
from stages import download

# DVC's own, when it adds a file.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")

SET = {"a.jpg": b"a", "labels/a.xml": b"<annotation/>"}
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"]


def write(folder, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A repository that tracks a folder, archives and a file; at the tag `first` the folder held less."""
    folder, store = tmp_path_factory.mktemp("theirs"), tmp_path_factory.mktemp("store")

    def git(*arguments: str) -> None:
        subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True)

    git("init", "-q")
    Repo.init(str(folder)).close()
    write(folder, {".dvc/config": f"[core]\n remote = store\n['remote \"store\"']\n url = {store}\n".encode()})
    repo = Repo(str(folder))
    for message in ("first", "second"):
        write(folder / "set", SET if message == "second" else {"a.jpg": b"a"})
        write(folder, {"set.zip": zip_bytes(), "evil.tar": tar_bytes({"../evil": b""}), "labels.csv": b"a,b"})
        repo.add([str(folder / name) for name in ("set", "set.zip", "evil.tar", "labels.csv")])
        git("add", "-A")
        git("commit", "-qm", message)
        git("tag", message)
        repo.push()
    repo.close()
    return folder


@pytest.fixture
def target(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("path", "rev", "files"),
    [
        ("set", "", SET),
        ("set", "first", {"a.jpg": b"a"}),
        ("set/labels", "second", {"a.xml": b"<annotation/>"}),
        ("set.zip", "", FILES),
        ("labels.csv", "main", {"labels.csv": b"a,b"}),
    ],
)
def test_what_is_tracked_comes(theirs, target, path, rev, files):
    written = fetch_tracked(str(theirs), path, rev, target, Limits(), target.parent)
    assert files_in(target) == files
    assert sorted(written) == sorted(target / name for name in files)


def test_a_url_will_do(theirs, target):
    fetch_tracked(f"file://{theirs}", "set", "second", target, Limits(), target.parent)
    assert files_in(target) == SET


def test_a_relative_path_starts_at_the_root(theirs, target):
    fetch_tracked(theirs.name, "set", "", target, Limits(), theirs.parent)
    assert files_in(target) == SET


@pytest.mark.parametrize(
    ("path", "rev", "says"),
    [("none", "", "none"), ("set", "third", "third"), ("evil.tar", "", "leads out of the folder")],
)
def test_what_cannot_be_had_is_named(theirs, target, path, rev, says):
    with pytest.raises(DownloadError, match=says):
        fetch_tracked(str(theirs), path, rev, target, Limits(), target.parent)


def test_no_repository(target, tmp_path):
    with pytest.raises(DownloadError, match=r"set of .*nowhere: .*check download\.dvc"):
        fetch_tracked(str(tmp_path / "nowhere"), "set", "", target, Limits(), target.parent)
    (tmp_path / "bare").mkdir()
    with pytest.raises(DownloadError, match=r"bare: neither git nor DVC tracks 'set' in it; correct download\.dvc"):
        fetch_tracked(str(tmp_path / "bare"), "set", "", target, Limits(), target.parent)


def test_data_that_was_never_pushed(theirs, target, tmp_path):
    """The repository is there, what it tracks is not."""
    subprocess.run(["git", "clone", "-q", str(theirs), "clone"], cwd=tmp_path, check=True)
    write(tmp_path / "clone", {".dvc/config": b""})
    with pytest.raises(DownloadError, match=r"set of .*clone: .*check download\.dvc"):
        fetch_tracked(str(tmp_path / "clone"), "set", "", target, Limits(), target.parent)


def test_the_limits_hold(theirs, target):
    with pytest.raises(DownloadError, match="more than 2 files"):
        fetch_tracked(str(theirs), "set.zip", "", target, Limits(2), target.parent)


@pytest.fixture
def ours(tmp_path, monkeypatch):
    (tmp_path / "ours").mkdir()
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path / "ours")
    return Repository(tmp_path / "ours")


def test_the_stage(theirs, ours, capsys):
    ours.take("dvc", repo=str(theirs), path="set", rev="second")
    with pytest.raises(SystemExit) as end:
        download.main()
    assert (end.value.code, capsys.readouterr().err) == (None, "")
    assert ours.data() == {f"raw/{name}": content for name, content in SET.items()} | WEIGHTS


def test_the_stage_ends_in_one_line(theirs, ours, capsys):
    ours.take("dvc", repo=str(theirs), path="none")
    with pytest.raises(SystemExit) as end:
        download.main()
    said = capsys.readouterr().err
    assert (end.value.code, said.count("\n"), said[:7]) == (1, 1, "error: ")
    assert ours.data() == EARLIER
