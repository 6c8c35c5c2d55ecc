"""compose.yaml: pinned, local by default, and without secrets. tests/tracking/test_team.py runs the same servers."""

import re
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
SERVICES = yaml.safe_load(TEXT)["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_images_and_packages_are_pinned(name):
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?", service["image"])
    installed = re.findall(r"pip install --no-cache-dir (.*)", service.get("build", {}).get("dockerfile_inline", ""))
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", package) for line in installed for package in line.split())


def test_mlflow_is_of_a_release_that_the_package_accepts():
    (version,) = re.findall(r"pip install .*\bmlflow==([\d.]+)", TEXT)
    (accepted,) = re.findall(
        r'^    "(mlflow>=.*)",', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert Version(version) in Requirement(accepted).specifier
    assert SERVICES["mlflow"]["image"].endswith(f":{version}")


def test_ports_are_bound_to_this_machine_by_default():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:") for port in ports)


def test_every_variable_has_a_line_in_the_example_and_secrets_have_no_value():
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+)", TEXT)) == set(example)
    secrets = {name for name in example if name.endswith(("PASSWORD", "SECRET_ACCESS_KEY"))}
    assert secrets == {"POSTGRES_PASSWORD", "AWS_SECRET_ACCESS_KEY"}
    assert all(example[name] == "" and f"${{{name}:?" in TEXT for name in secrets)
