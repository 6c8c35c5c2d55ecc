"""Section download of params.yaml."""

from abc import abstractmethod
from typing import Annotated

from pydantic import Field, model_validator

from retinanet.config.fields import Count, CountOrZero, Orientation, Positive, Section, Sha256


class SourceSection(Section):
    """The settings of one source, under the source's name."""

    @abstractmethod
    def dataset_name(self) -> str:
        """Name of the dataset in the MLflow run."""

    def missing(self) -> str:
        """What must be set if this is the source; empty if nothing is missing."""
        return ""


class Package(SourceSection):
    """Files from one wheel of a Python package; the wheel is unpacked, never installed or imported."""

    name: str
    """Source `package`: name of the package in the package index."""
    version: str
    """Exact version of the package."""
    sha256: Sha256
    """Checksum of the wheel; empty: not checked, and its value is printed."""
    members: list[str]
    """Glob patterns of the files to unpack from the wheel."""
    rename_classes: dict[str, str]
    """New names of this data's classes, beside those of `prepare.rename_classes`."""
    tile_size: CountOrZero
    """Tile size for this data if `prepare.tile_size` is `auto`."""
    orientation: Orientation
    """Orientation of this data if `train.augment.orientation` is `auto`."""
    epochs: Count
    """Epochs for this data if `train.epochs` is `auto`."""

    def dataset_name(self) -> str:
        return f"{self.name} {self.version}"


class WeightsPackage(Section):
    """ImageNet weights of one backbone, from a wheel."""

    backbone: str
    """The `model.backbone` that these ImageNet weights are for."""
    name: str
    """Name of the package that contains the weights."""
    version: str
    """Exact version of the package."""
    sha256: Sha256
    """Checksum of the wheel; empty: not checked, and its value is printed."""
    member: str
    """Glob pattern of the weights file in the wheel; it must match one file."""


class ArchivePart(Section):
    url: Annotated[str, Field(min_length=1)]
    """Path or http(s) URL of a tar or zip."""
    sha256: Sha256
    """Checksum of the archive; empty: not checked, and its value is printed."""


class Archive(SourceSection):
    url: str
    """Source `archive`: path or http(s) URL of a tar or zip."""
    sha256: Sha256
    """Checksum of the archive; empty: not checked, and its value is printed."""
    more: list[ArchivePart]
    """Additional archives of the same dataset, downloaded in parallel."""

    def dataset_name(self) -> str:
        return self.url

    def missing(self) -> str:
        return "" if self.url else "archive.url must be set (a path or http(s) URL)"


class Folder(SourceSection):
    path: str
    """Source `folder`: folder with images and annotations; `dvc repro` notices changes in it."""

    def dataset_name(self) -> str:
        return self.path

    def missing(self) -> str:
        return "" if self.path else "folder.path must be set"


class Dvc(SourceSection):
    """Data that DVC tracks in another repository."""

    repo: str
    """Source `dvc`: path or URL of a git repository in which DVC tracks the data."""
    path: str
    """Folder or archive in that repository."""
    rev: str
    """Commit, tag or branch; empty: the current state of the repository."""

    def dataset_name(self) -> str:
        return f"{self.repo} {self.path}"

    def missing(self) -> str:
        return "" if self.repo and self.path else "dvc.repo and dvc.path must be set"


class Download(Section):
    """Where images, annotations and ImageNet weights come from."""

    source: str
    """`package`, `archive`, `folder`, `dvc`, or the name of a public dataset (`uv run retinanet datasets`)."""
    package: Package
    archive: Archive
    folder: Folder
    dvc: Dvc
    mirror: str
    """URL or folder that mirrors the public datasets; empty: the original servers."""
    max_files: Count
    """Extraction limit, number of files; an archive beyond it is refused as a decompression bomb."""
    max_gigabytes: Positive
    """Extraction limit, total size in GB."""
    weights: WeightsPackage

    def chosen_package(self) -> Package | None:
        """The package, if it is the source."""
        return self.package if self.source == "package" else None

    def source_name(self) -> str:
        """Name of the dataset in the MLflow run: a package, a URL, a folder or a public dataset."""
        section = self._source_section()
        return section.dataset_name() if section else self.source

    @model_validator(mode="after")
    def _source_is_configured(self) -> "Download":
        section = self._source_section()
        if section and (missing := section.missing()):
            raise ValueError(f"source is {self.source}, so {missing}")
        return self

    def _source_section(self) -> SourceSection | None:
        """None for a public dataset, which needs no settings of its own."""
        section = getattr(self, self.source, None) if self.source in type(self).model_fields else None
        return section if isinstance(section, SourceSection) else None
