"""Public datasets that `download.source` accepts by name."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from retinanet.fetch.archives import Limits, unpack_archives
from retinanet.fetch.downloads import Pinned
from retinanet.fetch.remote_archives import fetch_archives

COCO = "http://images.cocodataset.org"
VOC = "http://host.robots.ox.ac.uk/pascal/VOC"
VOC_TERMS = "none stated; the images are from flickr: its terms of use and its users' rights apply"
VOC_MEMBERS = ("*/Annotations/*", "*/ImageSets/Main/*", "*/JPEGImages/*")


@dataclass(frozen=True)
class PublicSet:
    """A dataset's archives, the members that detection needs (fnmatch patterns), and the limits of unpacking them."""

    parts: tuple[Pinned, ...]
    members: tuple[str, ...]
    limits: Limits
    content: str
    license: str
    citation: str

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(part.size for part in self.parts)


# Sizes and sha256 as torchvision and tensorflow_datasets record them.
PUBLIC_SETS = {
    "coco2017": PublicSet(
        parts=(
            Pinned(
                f"{COCO}/annotations/annotations_trainval2017.zip",
                "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
                252_907_541,
            ),
            Pinned(
                f"{COCO}/zips/val2017.zip",
                "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
                815_585_330,
            ),
            Pinned(
                f"{COCO}/zips/train2017.zip",
                "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
                19_336_861_798,
            ),
        ),
        members=("annotations/instances_*.json", "train2017/*", "val2017/*"),
        limits=Limits(130_000, 25_000_000_000),
        content="118,287 train and 5,000 val images, 80 classes; the val split is used as test",
        license="annotations CC BY 4.0; the images are from flickr: its terms of use apply",
        citation="Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, arXiv:1405.0312",
    ),
    "voc2007": PublicSet(
        parts=(
            Pinned(
                f"{VOC}/voc2007/VOCtrainval_06-Nov-2007.tar",
                "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508",
                460_032_000,
            ),
            Pinned(
                f"{VOC}/voc2007/VOCtest_06-Nov-2007.tar",
                "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892",
                451_020_800,
            ),
        ),
        members=VOC_MEMBERS,
        limits=Limits(40_000, 2_000_000_000),
        content="2,501 train, 2,510 val and 4,952 test images, 20 classes",
        license=VOC_TERMS,
        citation="Everingham et al., The PASCAL Visual Object Classes Challenge 2007 (VOC2007) Results",
    ),
    "voc2012": PublicSet(
        parts=(
            Pinned(
                f"{VOC}/voc2012/VOCtrainval_11-May-2012.tar",
                "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
                1_999_639_040,
            ),
        ),
        members=VOC_MEMBERS,
        limits=Limits(80_000, 4_000_000_000),
        content="5,717 train and 5,823 val images, 20 classes; the val split is used as test",
        license=VOC_TERMS,
        citation="Everingham et al., The PASCAL Visual Object Classes Challenge 2012 (VOC2012) Results",
    ),
}


def fetch_public_set(name: str, mirror: str, cache: Path, target: Path, root: Path) -> list[Path]:
    """Fetch a set and unpack the files that detection needs into `target`; return their paths.

    mirror: an http(s) URL, or a folder, relative to `root`, that has copies of the archives under their published
    names; empty for the published addresses. Raises DownloadError.
    """
    public_set = PUBLIC_SETS[name]
    print(f"{name}: {_gigabytes(public_set.size)} to download, about the same unpacked; license: {public_set.license}")
    parts = [_mirrored(part, mirror) for part in public_set.parts]

    def is_member(member: str) -> bool:
        return any(fnmatchcase(member, pattern) for pattern in public_set.members)

    archives = fetch_archives(parts, cache, root)
    return unpack_archives(archives, target, public_set.limits, is_member, sha256_verified=True)


def public_sets_text() -> str:
    """The output of `retinanet datasets`: licenses, citations, addresses and checksums."""
    blocks = []
    for name, public_set in PUBLIC_SETS.items():
        lines = [
            f"{name}: {_gigabytes(public_set.size)}, {public_set.content}",
            f"  license  {public_set.license}",
            f"  cite     {public_set.citation}",
        ]
        lines += [f"  part     {part.url}, {part.size:,} bytes, sha256 {part.sha256}" for part in public_set.parts]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _mirrored(part: Pinned, mirror: str) -> Pinned:
    return part._replace(url=f"{mirror.rstrip('/')}/{part.url.rpartition('/')[2]}") if mirror else part


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
