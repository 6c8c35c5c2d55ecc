"""The public sets: tiny archives with the layout of the published ones, served from 127.0.0.1."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.packed import files_in, tar_bytes, zip_bytes
from support.repository import EARLIER, Repository, sha256
from support.served import serving

from retinanet.fetch import downloads
from retinanet.fetch.public_sets import PUBLIC_SETS, public_sets_text
from stages import download, prepare


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    repository = Repository(tmp_path)
    repository.params["prepare"] |= {"tile_size": 0}
    return repository


@pytest.fixture
def server():
    with serving() as served:
        yield served


def image(number: int) -> bytes:
    """A JPEG of 40 x 30 px of noise, so that no two look alike."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def voc_parts(year: int, splits: dict[str, range]) -> dict[str, bytes]:
    """The members of a VOC tar, including segmentation."""
    root = f"VOCdevkit/VOC{year}"
    files = {}
    for split, numbers in splits.items():
        files[f"{root}/ImageSets/Main/{split}.txt"] = "".join(f"{n:06}\n" for n in numbers).encode()
        files[f"{root}/ImageSets/Main/dog_{split}.txt"] = "".join(f"{n:06}  1\n" for n in numbers).encode()
        for n in numbers:
            files[f"{root}/JPEGImages/{n:06}.jpg"] = image(n)
            files[f"{root}/Annotations/{n:06}.xml"] = (
                f"<annotation><folder>VOC{year}</folder><filename>{n:06}.jpg</filename>"
                "<size><width>40</width><height>30</height><depth>3</depth></size>"
                "<object><name>dog</name><difficult>0</difficult>"
                "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>22</xmax><ymax>23</ymax></bndbox>"
                "<part><name>head</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
                "</object></annotation>"
            ).encode()
            files[f"{root}/SegmentationClass/{n:06}.png"] = b"not for detection"
    return files


def coco_parts() -> dict[str, bytes]:
    splits = {"train2017": range(1, 9), "val2017": range(9, 12)}
    annotations = {"annotations/captions_val2017.json": b"{}"}
    for split, numbers in splits.items():
        content = {
            "info": {},
            "licenses": [],
            "images": [{"id": n, "file_name": f"{n:012}.jpg", "width": 40, "height": 30} for n in numbers],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 18, "bbox": [2, 3, 20, 20], "area": 300, "iscrowd": 0}
                for n in numbers
            ],
            "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}],
        }
        annotations[f"annotations/instances_{split}.json"] = json.dumps(content).encode()
    parts = {
        f"{split}.zip": zip_bytes({f"{split}/{n:012}.jpg": image(n) for n in numbers})
        for split, numbers in splits.items()
    }
    return parts | {"annotations_trainval2017.zip": zip_bytes(annotations)}


PARTS = {
    "coco2017": coco_parts(),
    "voc2007": {
        "VOCtrainval_06-Nov-2007.tar": tar_bytes(voc_parts(2007, {"train": range(1, 5), "val": range(5, 8)})),
        "VOCtest_06-Nov-2007.tar": tar_bytes(voc_parts(2007, {"test": range(8, 12)})),
    },
    "voc2012": {
        "VOCtrainval_11-May-2012.tar": tar_bytes(voc_parts(2012, {"train": range(1, 9), "val": range(9, 12)})),
    },
}


@pytest.fixture(params=PARTS)
def tiny_set(request, monkeypatch):
    """The name of a set, whose pinned sizes and sha256 are replaced by those of the tiny archives."""
    name = request.param
    declared = PUBLIC_SETS[name]
    tiny = tuple(
        part._replace(sha256=sha256(content), size=len(content))
        for part in declared.parts
        for content in [PARTS[name][part.url.rpartition("/")[2]]]
    )
    monkeypatch.setitem(PUBLIC_SETS, name, replace(declared, parts=tiny))
    return name


def run(stage) -> int:
    with pytest.raises(SystemExit) as end:
        stage.main()
    return end.value.code or 0


def images_of(repository: Repository, split: str) -> set[int]:
    content = json.loads((repository.folder / "data" / "prepared" / f"{split}.json").read_text())
    return {int(image["file_name"].split("/")[-1].removesuffix(".jpg")) for image in content["images"]}


def test_download_and_prepare_read_each_set_from_a_mirror(repository, server, tiny_set):
    server.files = {f"sets/{name}": content for name, content in PARTS[tiny_set].items()}
    repository.set_source(tiny_set, mirror=server.url("sets/"))
    assert run(download) == 0
    raw = files_in(repository.folder / "data" / "raw")
    assert not any("Segmentation" in name or "captions" in name for name in raw)
    assert sum(name.endswith(".jpg") for name in raw) == 11
    assert run(prepare) == 0
    splits = {split: images_of(repository, split) for split in ("train", "val", "test")}
    if tiny_set == "voc2007":
        assert splits == {"train": {1, 2, 3, 4}, "val": {5, 6, 7}, "test": {8, 9, 10, 11}}
    else:
        assert splits["test"] == {9, 10, 11}
        assert splits["train"] | splits["val"] == set(range(1, 9))


def test_a_mirror_may_be_a_folder(repository, tiny_set):
    for name, content in PARTS[tiny_set].items():
        repository.write(f"sets/{name}", content)
    repository.set_source(tiny_set, mirror="sets")
    assert run(download) == 0
    assert sum(name.endswith(".jpg") for name in files_in(repository.folder / "data" / "raw")) == 11


@pytest.mark.parametrize("name", PARTS)
def test_a_mirror_with_other_files_is_refused(repository, server, name, capsys):
    server.files = PARTS[name]
    repository.set_source(name, mirror=server.url())
    assert run(download) == 1
    assert "is it another version?" in capsys.readouterr().err
    assert repository.data() == EARLIER


def test_more_files_than_the_limit_of_a_set_are_refused(repository, server, tiny_set, monkeypatch, capsys):
    declared = PUBLIC_SETS[tiny_set]
    monkeypatch.setitem(PUBLIC_SETS, tiny_set, replace(declared, limits=declared.limits._replace(files=4)))
    server.files = PARTS[tiny_set]
    repository.set_source(tiny_set, mirror=server.url())
    assert run(download) == 1
    assert "more than 4 files" in capsys.readouterr().err
    assert repository.data() == EARLIER


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_each_set_declares_license_citation_and_checksums(name):
    declared = PUBLIC_SETS[name]
    assert declared.license and declared.citation and declared.content
    assert declared.limits.bytes > declared.size
    assert all(part.url.startswith("http") and part.size and len(part.sha256) == 64 for part in declared.parts)
    assert len({part.url.rpartition("/")[2] for part in declared.parts}) == len(declared.parts)
    for text in (name, declared.license, declared.citation, *(part.sha256 for part in declared.parts)):
        assert text in public_sets_text()


def test_the_datasets_command_imports_no_heavy_library():
    code = (
        "import sys; sys.argv = ['retinanet', 'datasets']; import retinanet.cli.main\n"
        "try: retinanet.cli.main.main()\n"
        "finally: assert not {'torch', 'mlflow', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", public_sets_text())
