import errno

import numpy as np
import pytest
from PIL import Image

from retinanet.dataset import image_cache as image_cache
from retinanet.dataset.coco import ImageInfo
from retinanet.dataset.image_cache import ImageCache
from retinanet.errors import ImageError
from retinanet.images.reading import Reading, read_image

INFO = ImageInfo(1, "a.png", 60, 40)


@pytest.fixture
def path(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def cache(tmp_path):
    return ImageCache(tmp_path / "cache")


def kept(cache: ImageCache) -> list[str]:
    return sorted(file.name.split("-")[1] for file in cache.folder.glob("*"))


def test_second_read_comes_from_disk(path, cache, monkeypatch):
    first = cache.read(path, INFO, 0.5)
    assert first.shape == (20, 30, 3) and first.dtype == np.uint8
    monkeypatch.setattr(image_cache, "read_image", None)
    np.testing.assert_array_equal(cache.read(path, INFO, 0.5), first)


def test_scale_above_one_caches_the_original_size(path, cache):
    np.testing.assert_array_equal(cache.read(path, INFO, 2.5), read_image(path))


def test_other_size_or_content_is_another_entry(path, cache):
    cache.read(path, INFO, 0.5)
    assert cache.read(path, INFO, 0.25).shape == (10, 15, 3)
    Image.new("RGB", (60, 40), (9, 9, 9)).save(path)
    assert (cache.read(path, INFO, 0.5) == 9).all()
    assert kept(cache) == ["10x15", "20x30", "20x30"]


def test_other_white_level_is_another_entry(tmp_path, cache):
    Image.fromarray(np.full((40, 60), 4095, np.uint16)).save(tmp_path / "b.png")
    assert (cache.read(tmp_path / "b.png", INFO, 1) == 16).all()
    assert (cache.read(tmp_path / "b.png", INFO, 1, Reading(white_level=4095)) == 255).all()


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_damaged_entry_is_replaced(path, cache, damage):
    first = cache.read(path, INFO, 0.5)
    (entry,) = cache.folder.iterdir()
    entry.write_bytes(entry.read_bytes()[:-7] if damage is None else damage)
    np.testing.assert_array_equal(cache.read(path, INFO, 0.5), first)
    assert np.load(entry).shape == (20, 30, 3)


def test_full_disk_returns_the_image_uncached(path, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_cache.np, "save", full)
    assert cache.read(path, INFO, 0.5).shape == (20, 30, 3)
    assert kept(cache) == []


def test_missing_and_damaged_images_fail(path, cache):
    with pytest.raises(ImageError, match=r"b\.png: no such file"):
        cache.read(path.with_name("b.png"), INFO, 1)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ImageError, match=r"a\.png: damaged or truncated"):
        cache.read(path, INFO, 1)
    assert kept(cache) == []
