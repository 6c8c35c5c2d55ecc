"""dvc.yaml names what the stages really use, so that nothing stale is kept and nothing is made twice."""

import ast
from pathlib import Path

import pytest
import yaml

from retinanet.config.params import load_params
from retinanet.config.settings import Params

STAGES = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
# They say how to ask, complain and record, not what is computed.
NOT_WATCHED = (
    "retinanet/config/params.py",
    "retinanet/config/settings.py",
    "retinanet/errors.py",
    "retinanet/tracking/",
    "retinanet/__init__.py",
)


def script_of(stage: dict) -> Path:
    return Path(stage["cmd"].removeprefix("python -m ").replace(".", "/") + ".py")


def imported_files(path: Path, seen: set[Path] | None = None) -> set[Path]:
    """The project's own files that a file imports, directly or through others."""
    seen = set() if seen is None else seen
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("retinanet"):
            module = Path(node.module.replace(".", "/"))
            for file in (module.with_suffix(".py"), *(module / f"{a.name}.py" for a in node.names)):
                if file.exists() and file not in seen:
                    seen.add(file)
                    if not str(file).startswith(NOT_WATCHED):
                        imported_files(file, seen)
    return seen


@pytest.mark.parametrize("name", STAGES)
def test_deps_cover_all_that_the_script_imports(name):
    deps = STAGES[name]["deps"]
    used = {str(f) for f in imported_files(script_of(STAGES[name])) if not str(f).startswith(NOT_WATCHED)}
    missing = [f for f in used if not any(f == dep or f.startswith(f"{dep}/") for dep in deps)]
    assert not missing
    assert str(script_of(STAGES[name])) in deps


@pytest.mark.parametrize("name", STAGES)
def test_deps_name_nothing_that_is_not_there(name):
    outs = [out for stage in STAGES.values() for kind in ("outs", "metrics") for out in stage.get(kind, [])]
    for dep in STAGES[name]["deps"]:
        dep = dep.replace("${download.folder.path}", load_params().download.folder.path)
        assert Path(dep).exists() or dep in outs, dep


@pytest.mark.parametrize("name", STAGES)
def test_params_are_keys_that_exist(name):
    for key in STAGES[name]["params"]:
        section = Params
        for part in key.split("."):
            section = section.model_fields[part].annotation


def test_imports_point_one_way():
    """Each room imports only rooms below it."""
    order = [
        "errors",
        "files",
        "settings",
        "params",
        "presets",
        "detections",
        "drawing",
        "pages",
        "data",
        "doctor",
        "model",
        "detector",
        "evaluation",
        "export",
        "explain",
        "training",
        "tracking",
        "predict",
        "commands",
        "cli",
    ]
    for path in Path("retinanet").rglob("*.py"):
        own = path.relative_to("retinanet").parts[0].removesuffix(".py")
        for file in imported_files(path):
            if own != "__init__" and (other := file.parts[1].removesuffix(".py")) != "__init__":
                assert order.index(other) <= order.index(own), f"{path} imports {file}"


def test_only_tracking_knows_mlflow():
    for path in [*Path("retinanet").rglob("*.py"), *Path("stages").rglob("*.py")]:
        names = [
            name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            for name in (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        ]
        assert "tracking" in path.parts or not any(n.split(".")[0] == "mlflow" for n in names), path
