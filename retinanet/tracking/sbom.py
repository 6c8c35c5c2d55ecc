"""A software bill of materials of this environment: the installed packages as CycloneDX JSON."""

import platform
import re
import uuid
from importlib.metadata import Distribution, distributions
from typing import Any

import retinanet

SPECIFICATION = "1.6"
MAX_LICENSE = 100  # some packages put the whole text of the license into this field


def sbom() -> dict[str, Any]:
    """The packages that Python finds here, by name. The same environment gives the same content."""
    found = {_normal(package.name): package for package in distributions() if package.name}
    components = [_component(name, package) for name, package in sorted(found.items()) if name != "retinanet"]
    listed = "\n".join(component["purl"] for component in components)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, listed)}",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "retinanet", "version": retinanet.__version__},
            "properties": [
                {"name": "python", "value": platform.python_version()},
                {"name": "platform", "value": platform.platform()},
            ],
        },
        "components": components,
    }


def _component(name: str, package: Distribution) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{package.version}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": package.version, "purl": purl}
    return component | {"licenses": licenses} if (licenses := _licenses(package)) else component


def _licenses(package: Distribution) -> list[dict[str, Any]]:
    if "License-Expression" in package.metadata:
        return [{"expression": package.metadata["License-Expression"]}]
    classifiers = [text for text in package.metadata.get_all("Classifier") or [] if text.startswith("License ::")]
    names = [text.rpartition(" :: ")[2] for text in classifiers] or package.metadata.get_all("License") or []
    return [{"license": {"name": name}} for name in names if name.strip() and len(name) <= MAX_LICENSE]


def _normal(name: str) -> str:
    """The package's name as in a package URL."""
    return re.sub(r"[-_.]+", "-", name).lower()
