from importlib.metadata import version

from retinanet.tracking.sbom import sbom


def test_sbom_lists_installed_packages_with_version_license_and_package_url():
    content = sbom()
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    by_name = {component["name"]: component for component in content["components"]}
    numpy = by_name["numpy"]
    assert (numpy["version"], numpy["purl"]) == (version("numpy"), f"pkg:pypi/numpy@{version('numpy')}")
    assert by_name["opencv-python-headless"]["bom-ref"] == by_name["opencv-python-headless"]["purl"]
    assert by_name["requests"]["licenses"]
    assert "retinanet" not in by_name


def test_sbom_of_the_same_environment_is_the_same():
    assert sbom() == sbom()
