import subprocess
from pathlib import Path

import pytest

from retinanet.errors import TrackingError
from retinanet.tracking.compared_names import named
from retinanet.tracking.comparison import Gate
from retinanet.tracking.promotion import promote

BASELINE = f"ab/{'c' * 38}"


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def commit(make_version) -> str:
    """The commit of a repository whose version 1 is in production."""
    make_version(0.5)
    promote("retinanet", 1, Gate("AP50", 0.3))
    git("branch", "colors")
    git("update-ref", f"refs/exps/{BASELINE}/wider", "HEAD")
    Path("small.onnx").touch()
    return git("rev-parse", "HEAD")


def test_each_kind_of_name(commit):
    found = {text: named(text, "retinanet")[:2] for text in ("1", "production", "small.onnx", "workspace")}
    assert found == {
        "1": ("version", "1"),
        "production": ("alias", "1"),
        "small.onnx": ("file", "small.onnx"),
        "workspace": ("workspace", "workspace"),
    }
    for text in ("HEAD", "HEAD~0", "colors", commit[:9], "git:colors"):
        assert named(text, "retinanet")[:2] == ("git", commit)
    for text in ("wider", "exp:wider"):
        assert named(text, "retinanet")[:2] == ("exp", commit)


def test_a_name_of_two_things_needs_a_prefix(commit):
    git("branch", "production")
    git("update-ref", f"refs/exps/{BASELINE}/colors", "HEAD")
    with pytest.raises(
        TrackingError,
        match=r"^production: the name of an alias of a version and a git revision; write "
        r"alias:production or git:production$",
    ):
        named("production", "retinanet")
    assert named("alias:production", "retinanet") == ("alias", "1", "production")
    assert named("git:production", "retinanet") == ("git", commit, "production")
    with pytest.raises(TrackingError, match="write git:colors or exp:colors"):
        named("colors", "retinanet")


def test_a_branch_and_a_tag_of_one_name_and_different_commits(commit):
    git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "second")
    git("tag", "colors")
    with pytest.raises(TrackingError, match="write git:refs/heads/colors or git:refs/tags/colors"):
        named("colors", "retinanet")
    assert named("git:refs/heads/colors", "retinanet").value == commit


def test_several_experiments_of_one_name(commit):
    git("update-ref", f"refs/exps/de/{'f' * 38}/wider", "HEAD")
    with pytest.raises(TrackingError, match=f"wider: the name of 2 DVC experiments; .* {commit[:7]}"):
        named("wider", "retinanet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2", "2: not a version or alias of retinanet .* a branch, tag or commit of git, a DVC experiment"),
        ("missing.onnx", "or an existing .onnx or .safetensors file"),
        ("--output=x", "not a version"),
        ("version:7", "version:7: there is no version 7; `retinanet status`"),
        ("git:best", "no git revision best"),
        ("exp:best", "no DVC experiment best; `dvc exp show`"),
        ("file:small.txt", "no model file small.txt; give the path"),
    ],
)
def test_a_name_of_nothing_says_what_was_tried(commit, text, message):
    with pytest.raises(TrackingError, match=message):
        named(text, "retinanet")
