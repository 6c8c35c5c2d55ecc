"""dvc.yaml names what the stages really use, so that nothing stale is kept and nothing is made twice."""

import ast
from pathlib import Path

import pytest
import yaml

from retinanet.config.params import load_params
from retinanet.config.settings import Params

STAGES = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
# Settings, errors and tracking: they do not change results.
NOT_WATCHED = (
    "retinanet/config/",
    "retinanet/errors.py",
    "retinanet/tracking/",
    "retinanet/__init__.py",
    "retinanet/threads.py",
    "stages/__init__.py",
    "stages/paths.py",
)


def script_of(stage: dict) -> Path:
    return Path(stage["cmd"].removeprefix("python -m ").replace(".", "/") + ".py")


def imported_files(path: Path, seen: set[Path] | None = None) -> set[Path]:
    """The project's own files that a file imports, directly or through others."""
    seen = set() if seen is None else seen
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("retinanet", "stages"):
            module = Path(node.module.replace(".", "/"))
            for file in (module.with_suffix(".py"), *(module / f"{a.name}.py" for a in node.names)):
                if file.exists() and file not in seen:
                    seen.add(file)
                    if not str(file).startswith(NOT_WATCHED):
                        imported_files(file, seen)
    return seen


def files_of(dep: str) -> set[str]:
    """The Python files that a dependency on code covers."""
    path = Path(dep)
    files = path.rglob("*.py") if path.is_dir() else [path]
    return {str(file) for file in files if file.name != "__init__.py"}


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_are_what_the_script_imports_and_no_more(name):
    script = script_of(STAGES[name])
    used = {str(file) for file in {script, *imported_files(script)} if not str(file).startswith(NOT_WATCHED)}
    used = {file for file in used if not file.endswith("__init__.py")}
    code = [dep for dep in STAGES[name]["deps"] if dep.startswith(("retinanet", "stages"))]
    named = set().union(*(files_of(dep) for dep in code))
    assert used - named == set(), "missing in deps of dvc.yaml"
    assert named - used == set(), "superfluous in deps of dvc.yaml"


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
        "threads",
        "runtime",
        "distributed",
        "config",
        "fetch",
        "images",
        "dataset",
        "annotations",
        "prepare",
        "model",
        "losses",
        "inference",
        "rasters",
        "drawing",
        "pages",
        "data_report",
        "evaluation",
        "explain",
        "export",
        "training",
        "preflight",
        "recipe",
        "serving",
        "tracking",
        "sweep",
        "cli",
    ]
    for path in Path("retinanet").rglob("*.py"):
        own = path.relative_to("retinanet").parts[0].removesuffix(".py")
        for file in imported_files(path):
            other = file.parts[1].removesuffix(".py")
            if file.parts[0] == "retinanet" and "__init__" not in (own, other):
                assert order.index(other) <= order.index(own), f"{path} imports {file}"


def test_the_network_and_the_data_rooms_do_not_know_each_other():
    data = ("annotations", "dataset", "prepare", "fetch", "config")
    for path in Path("retinanet/model").rglob("*.py"):
        assert not [file for file in imported_files(path) if file.parts[1] in data], path
    for room in ("annotations", "prepare", "fetch"):
        for path in Path("retinanet", room).rglob("*.py"):
            assert not [file for file in imported_files(path) if file.parts[1] in ("model", "training")], path


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
