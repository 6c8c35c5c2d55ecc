"""The download stage: the files it writes, and its message if it fails."""

from pathlib import Path

import pytest
from support.packed import FILES, files_in, tar_bytes, zip_bytes
from support.repository import EARLIER, fails, from_file, from_server, succeeds


def test_a_package_is_fetched(repository, run):
    succeeds(repository, run, {"pack/a.png": b"image", "pack/a.xml": b"<annotation/>"})


def test_a_local_archive_is_fetched(repository, run):
    from_file(repository, tar_bytes(compression="gz"))
    succeeds(repository, run, FILES)


def test_an_archive_is_fetched_from_a_url(repository, run, server):
    from_server(repository, server)
    succeeds(repository, run, FILES)
    assert repository.cached() == {"set.zip"}


def test_several_archives_are_fetched(repository, run, server):
    server.files |= {"1.zip": zip_bytes({"images/1.jpg": b"1"}), "2.tar": tar_bytes({"images/2.jpg": b"2"})}
    from_server(repository, server, "1.zip")
    repository.write("labels.zip", zip_bytes({"labels/1.xml": b"l"}))
    repository.change("archive", more=[{"url": server.url("2.tar"), "sha256": ""}, {"url": "labels.zip", "sha256": ""}])
    succeeds(repository, run, {"images/1.jpg": b"1", "images/2.jpg": b"2", "labels/1.xml": b"l"})


def test_a_folder_is_copied(repository, run):
    repository.write("my images/a\nb/ü.jpg", b"image")
    repository.set_source("folder", path="my images")
    succeeds(repository, run, {"a\nb/ü.jpg": b"image"})


def test_relative_paths_start_at_dvc_root(repository, run, monkeypatch):
    """`dvc exp run --temp` runs the stage in a copy that lacks the files that git does not track."""
    repository.write("my images/a.jpg", b"image")
    repository.write("set.zip", zip_bytes())
    root = Path.cwd()
    for source, settings, files in (
        ("folder", {"path": "my images"}, {"a.jpg": b"image"}),
        ("archive", {"url": "set.zip"}, FILES),
    ):
        repository.set_source(source, **settings)
        copy = root.parent / f"copy {source}"
        copy.mkdir()
        (copy / "params.yaml").write_bytes((root / "params.yaml").read_bytes())
        monkeypatch.setenv("DVC_ROOT", str(root))
        monkeypatch.chdir(copy)
        assert run() == (0, "")
        assert files_in(copy / "data/raw") == files


def test_the_stage_succeeds_as_a_program(repository, server):
    from_server(repository, server)
    out, err = (process := repository.start()).communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "download: 3 files in data/raw" in out
    assert files_in(repository.folder / "data" / "raw") == FILES


@pytest.mark.parametrize("path", ["nowhere", "", ".", "data", "empty"])
def test_a_missing_empty_or_enclosing_folder_fails(repository, run, path):
    (repository.folder / "empty").mkdir()
    repository.set_source("folder", path=path)
    fails(repository, run, path)


def test_a_wheel_that_pip_cannot_find_fails(repository, run, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(repository.folder))
    repository.change("package", sha256="0" * 64)
    fails(repository, run, "pack==1: pip cannot download it", "No matching distribution")


@pytest.mark.parametrize(("section", "key"), [("package", "members"), ("weights", "member")])
def test_a_pattern_without_a_member_fails(repository, run, section, key):
    repository.change(section, **{key: ["*.none"] if key == "members" else "*.none"})
    fails(repository, run, "pack-1-py3-none-any.whl", "*.none")


def test_several_matching_weights_fail(repository, run):
    repository.change("weights", member="pack/*")
    fails(repository, run, "3 members match 'pack/*'", "download.weights.member")


def test_an_output_that_cannot_be_created_fails(repository, run):
    for name in ("raw", "weights"):
        (repository.folder / "data" / name).rename(repository.folder / f"old {name}")
    (repository.folder / "data").rmdir()
    repository.write("data", b"a file")
    code, err = run()
    assert (code, err.count("\n")) == (1, 1)
    assert "data/.raw.new" in err


@pytest.mark.parametrize(
    ("source", "values", "message"),
    [
        ("archive", {"url": ""}, "archive.url must be set"),
        ("dvc", {"repo": "."}, "dvc.repo and dvc.path must be set"),
        ("archive", {"more": [{"url": "a.zip"}]}, "download.archive.more.0.sha256 is missing"),
        ("archive", {"more": [{"ulr": "a.zip", "url": "b", "sha256": ""}]}, "did you mean url?"),
        ("torrent", {}, "download.source is 'torrent'; it must be one of package, archive, folder, dvc, coco2017"),
        ("voc2102", {}, "download.source is 'voc2102'"),
        ("folders", {}, "did you mean folder?"),
    ],
)
def test_invalid_params_fail(repository, run, source, values, message):
    repository.set_source(source, **values)
    fails(repository, run, "params.yaml: ", message)


def test_the_stage_fails_as_a_program_without_traceback(repository):
    repository.set_source("archive", url="nowhere.zip")
    out, err = (process := repository.start()).communicate(timeout=60)
    assert process.returncode == 1
    assert err == f"error: {repository.folder}/nowhere.zip: no such file; check the address in params.yaml\n"
    assert "Traceback" not in out
    assert repository.data() == EARLIER
