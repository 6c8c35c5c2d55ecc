"""With a real repository, made with git and DVC."""

import subprocess

import pytest
from dvc.repo import Repo
from support.packed import FILES, files_in, tar_bytes, zip_bytes
from support.repository import EARLIER, WEIGHTS, Repository

from retinanet.errors import DownloadError
from retinanet.fetch.archives import Limits
from retinanet.fetch.dvc_tracked import fetch_tracked
from stages import download

# Raised inside DVC when it adds a file.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")

SET = {"a.jpg": b"a", "labels/a.xml": b"<annotation/>"}
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"]


def write(folder, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """A repository that tracks a folder, archives and a file; at the tag `first` the folder has fewer files."""
    folder, store = tmp_path_factory.mktemp("remote"), tmp_path_factory.mktemp("store")

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
def test_fetches_tracked_folders_archives_and_files(remote, target, path, rev, files):
    written = fetch_tracked(str(remote), path, rev, target, Limits(), target.parent)
    assert files_in(target) == files
    assert sorted(written) == sorted(target / name for name in files)


def test_the_repository_may_be_a_url(remote, target):
    fetch_tracked(f"file://{remote}", "set", "second", target, Limits(), target.parent)
    assert files_in(target) == SET


def test_a_relative_path_starts_at_the_root(remote, target):
    fetch_tracked(remote.name, "set", "", target, Limits(), remote.parent)
    assert files_in(target) == SET


@pytest.mark.parametrize(
    ("path", "rev", "message"),
    [("none", "", "none"), ("set", "third", "third"), ("evil.tar", "", "is outside of the target folder")],
)
def test_missing_paths_and_revisions_are_errors(remote, target, path, rev, message):
    with pytest.raises(DownloadError, match=message):
        fetch_tracked(str(remote), path, rev, target, Limits(), target.parent)


def test_a_missing_repository_is_an_error(target, tmp_path):
    with pytest.raises(DownloadError, match=r"set of .*nowhere: .*check download\.dvc"):
        fetch_tracked(str(tmp_path / "nowhere"), "set", "", target, Limits(), target.parent)
    (tmp_path / "bare").mkdir()
    with pytest.raises(DownloadError, match=r"bare: neither git nor DVC tracks 'set' in it; correct download\.dvc"):
        fetch_tracked(str(tmp_path / "bare"), "set", "", target, Limits(), target.parent)


def test_data_that_was_never_pushed_is_an_error(remote, target, tmp_path):
    """The repository exists, but its remote storage does not."""
    subprocess.run(["git", "clone", "-q", str(remote), "clone"], cwd=tmp_path, check=True)
    write(tmp_path / "clone", {".dvc/config": b""})
    with pytest.raises(DownloadError, match=r"set of .*clone: .*check download\.dvc"):
        fetch_tracked(str(tmp_path / "clone"), "set", "", target, Limits(), target.parent)


def test_limits_apply_to_tracked_archives(remote, target):
    with pytest.raises(DownloadError, match="more than 2 files"):
        fetch_tracked(str(remote), "set.zip", "", target, Limits(2), target.parent)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    (tmp_path / "repository").mkdir()
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path / "repository")
    return Repository(tmp_path / "repository")


def test_the_stage_fetches_tracked_data(remote, repository, capsys):
    repository.set_source("dvc", repo=str(remote), path="set", rev="second")
    with pytest.raises(SystemExit) as end:
        download.main()
    assert (end.value.code, capsys.readouterr().err) == (None, "")
    assert repository.data() == {f"raw/{name}": content for name, content in SET.items()} | WEIGHTS


def test_the_stage_reports_an_error_in_one_line(remote, repository, capsys):
    repository.set_source("dvc", repo=str(remote), path="none")
    with pytest.raises(SystemExit) as end:
        download.main()
    err = capsys.readouterr().err
    assert (end.value.code, err.count("\n"), err[:7]) == (1, 1, "error: ")
    assert repository.data() == EARLIER
