import numpy as np
from PIL import Image
from support.prepare_workspace import pixels

from retinanet.images.reading import THUMBNAIL
from retinanet.prepare.near_duplicates import clusters, difference_hashes, near_duplicates


def photo(seed: int) -> Image.Image:
    """A smooth random image, like a photograph at the size of a thumbnail."""
    return Image.fromarray(pixels(seed, 16, 12)).resize((320, 240), Image.Resampling.BICUBIC)


def thumbnail(image: Image.Image) -> bytes:
    return image.resize(THUMBNAIL, Image.Resampling.BOX).convert("L").tobytes()


def test_difference_hashes_compare_with_the_left_neighbor():
    rising = np.tile(np.arange(18, dtype=np.uint8), (16, 1))
    hashes = difference_hashes(np.stack([rising, rising[:, ::-1]]))
    assert [int(one).bit_count() for one in hashes] == [64, 0]


def test_modified_copies_are_found_and_different_images_are_not():
    different = [photo(seed) for seed in range(60)]
    original = different[7]
    copies = [
        original.resize((160, 120)),
        original.point(lambda value: min(255, value + 20)),
        original.crop((3, 3, 317, 237)),
        Image.fromarray(np.asarray(original) + np.random.default_rng(0).integers(0, 4, (240, 320, 3), np.uint8)),
    ]
    pairs = near_duplicates([thumbnail(image) for image in different + copies])
    assert {(i, j) for i, j, _ in pairs if i == 7} == {(7, 60), (7, 61), (7, 62), (7, 63)}
    assert {i for i, _, _ in pairs} | {j for _, j, _ in pairs} == {7, 60, 61, 62, 63}
    assert all(correlation >= 0.95 for _, _, correlation in pairs)


def test_blank_images_are_not_near_duplicates():
    blank = [thumbnail(Image.new("RGB", (64, 48), (value, value, value))) for value in (0, 0, 128, 255)]
    assert near_duplicates(blank) == []


def test_a_thousand_equal_thumbnails_give_one_cluster_and_few_pairs():
    frame = thumbnail(photo(1))
    pairs = near_duplicates([frame] * 1000)
    assert clusters([(i, j) for i, j, _ in pairs]) == [list(range(1000))]
    assert len(pairs) <= 1000 * 50 * 4


def test_fewer_than_two_thumbnails_give_no_pairs():
    assert near_duplicates([]) == []
    assert near_duplicates([thumbnail(photo(1))]) == []


def test_clusters_are_connected_components():
    assert sorted(clusters([("a", "b"), ("e", "f"), ("b", "c"), ("f", "e")])) == [["a", "b", "c"], ["e", "f"]]
