import hashlib
import zipfile

import pytest
from support.packed import files_in, zip_bytes

from retinanet.errors import DownloadError
from retinanet.fetch import packages
from retinanet.fetch.packages import fetch_wheel, unpack_wheel

NAME, VERSION = "hand-made", "1.0"
MEMBERS = {
    "hand_made/data/a.png": b"image",
    "hand_made/data/a.xml": b"<annotation/>",
    "hand_made/__init__.py": b"raise SystemExit('a wheel of data is never imported')",
    "hand_made-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: hand-made\nVersion: 1.0\nRequires-Python: <3\n",
    "hand_made-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "hand_made-1.0.dist-info/RECORD": b"",
}
WHEEL = zip_bytes(MEMBERS)
SHA256 = hashlib.sha256(WHEEL).hexdigest()


@pytest.fixture
def links(tmp_path, monkeypatch):
    """A folder with the wheel, the only index that pip uses."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "hand_made-1.0-py3-none-any.whl").write_bytes(WHEEL)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    return tmp_path / "links"


@pytest.fixture
def wheel(tmp_path):
    (tmp_path / "some.whl").write_bytes(WHEEL)
    return tmp_path / "some.whl"


@pytest.fixture
def quick_pip(monkeypatch):
    """Replace pip, which takes a second to start; the list of the packages that it downloaded."""
    downloaded = []

    def download(name, version, folder):
        (folder / "hand_made-1.0-py3-none-any.whl").write_bytes(WHEEL)
        downloaded.append(name)
        return folder / "hand_made-1.0-py3-none-any.whl"

    monkeypatch.setattr(packages, "_pip_download", download)
    return downloaded


def test_fetch_wheel_downloads_with_pip(links, tmp_path):
    wheel = fetch_wheel(NAME, VERSION, SHA256, tmp_path / "cache")
    assert wheel.read_bytes() == WHEEL
    assert files_in(tmp_path / "cache") == {f"{SHA256}/hand_made-1.0-py3-none-any.whl": WHEEL}


def test_a_cached_wheel_is_not_downloaded_again(quick_pip, tmp_path, capsys):
    wheels = {fetch_wheel(NAME, VERSION, SHA256, tmp_path / "cache") for _ in range(3)}
    assert (len(wheels), quick_pip) == (1, [NAME])
    assert "in the cache, 0.0 MB, sha256 as pinned" in capsys.readouterr().out


def test_a_damaged_wheel_in_the_cache_is_downloaded_again(quick_pip, tmp_path):
    wheel = fetch_wheel(NAME, VERSION, SHA256, tmp_path / "cache")
    wheel.write_bytes(b"damaged")
    assert fetch_wheel(NAME, VERSION, SHA256, tmp_path / "cache").read_bytes() == WHEEL


def test_the_sha256_of_an_unpinned_wheel_is_printed(quick_pip, tmp_path, capsys):
    fetch_wheel(NAME, VERSION, "", tmp_path / "cache")
    assert f"sha256 {SHA256}, not pinned" in capsys.readouterr().out


def test_a_wrong_sha256_reports_both_and_leaves_no_file(quick_pip, tmp_path):
    with pytest.raises(DownloadError, match=f"expected {'0' * 64}, got {SHA256}"):
        fetch_wheel(NAME, VERSION, "0" * 64, tmp_path / "cache")
    assert files_in(tmp_path / "cache") == {}


def test_a_missing_version_is_an_error(links, tmp_path):
    with pytest.raises(DownloadError, match=r"hand-made==9: .*No matching distribution found for hand-made==9"):
        fetch_wheel(NAME, "9", SHA256, tmp_path / "cache")
    assert files_in(tmp_path / "cache") == {}


def test_a_python_without_pip_is_an_error(links, tmp_path, monkeypatch):
    (tmp_path / "python").write_text("#!/bin/sh\necho '/python: No module named pip' >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(packages.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(DownloadError, match="this Python has no pip; run `uv sync`"):
        fetch_wheel(NAME, VERSION, SHA256, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_an_error(links, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DownloadError, match=r"cache: .*File exists"):
        fetch_wheel(NAME, VERSION, SHA256, tmp_path / "cache")


def test_only_matching_members_are_unpacked(wheel, tmp_path):
    written = unpack_wheel(wheel, ["hand_made/data/*.png", "*/WHEEL"], tmp_path / "out")
    assert {str(path.relative_to(tmp_path / "out")) for path in written} == {
        "hand_made/data/a.png",
        "hand_made-1.0.dist-info/WHEEL",
    }
    assert files_in(tmp_path / "out")["hand_made/data/a.png"] == b"image"


def test_a_pattern_without_a_match_is_an_error(wheel, tmp_path):
    with pytest.raises(DownloadError, match=r"some\.whl: no member matches '\*\.jpg'; correct download\.\*\.members"):
        unpack_wheel(wheel, ["*.png", "*.jpg"], tmp_path / "out")


def test_a_damaged_wheel_is_an_error(wheel, tmp_path):
    wheel.write_bytes(WHEEL[:-40])
    with pytest.raises(DownloadError, match=r"some\.whl: not a valid wheel"):
        unpack_wheel(wheel, ["*"], tmp_path / "out")


def test_a_member_outside_of_the_target_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as archive:
        archive.writestr("../evil", b"")
    with pytest.raises(DownloadError, match="is outside of the target folder"):
        unpack_wheel(tmp_path / "some.whl", ["*"], tmp_path / "out")
