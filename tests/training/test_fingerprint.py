import ast
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from retinanet.config.params import load_params
from retinanet.config.training import Runtime
from retinanet.training import fingerprint as module
from retinanet.training.fingerprint import fingerprint, step_code, training_fingerprint

ROOT = Path(__file__).parents[2]
WEIGHTS = {"w": torch.ones(1)}
OTHER_RUNTIME = {
    "device": "cpu",
    "workers": 3,
    "processes": 2,
    "accumulation_steps": 2,
    "checkpoint_minutes": 60.0,
    "cache_images": True,
}


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the repository's code."""
    shutil.copytree(ROOT / "retinanet", tmp_path / "retinanet", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def of_params(**sections) -> str:
    params = load_params(ROOT / "params.yaml")
    changed = {name: getattr(params, name).model_copy(update=values) for name, values in sections.items()}
    return training_fingerprint(params.model_copy(update=changed), [], WEIGHTS, ROOT)


def of_code(root: Path) -> str:
    return training_fingerprint(load_params(ROOT / "params.yaml"), [], WEIGHTS, root)


def test_every_runtime_setting_is_tested():
    assert set(OTHER_RUNTIME) == set(Runtime.model_fields)


@pytest.mark.parametrize("name", OTHER_RUNTIME)
def test_fingerprint_does_not_depend_on_runtime_settings(name):
    before = getattr(load_params(ROOT / "params.yaml").runtime, name)
    assert OTHER_RUNTIME[name] != before
    assert of_params(runtime={name: OTHER_RUNTIME[name]}) == of_params()


def test_no_stage_depends_on_runtime_settings():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, stage in stages.items():
        assert not [key for key in stage["params"] if key.split(".")[0] == "runtime"], name


@pytest.mark.parametrize(
    "changed",
    [
        {"train": {"learning_rate": 0.5}},
        {"train": {"batch_size": 6}},
        {"model": {"head_depth": 5}},
    ],
)
def test_fingerprint_depends_on_what_is_trained(changed):
    assert of_params(**changed) != of_params()


def test_fingerprint_does_not_depend_on_how_the_data_was_prepared():
    assert of_params(prepare={"val_share": 0.5}, evaluate={"nms_iou": 0.1}) == of_params()


@pytest.mark.parametrize(
    "file", ["annotations/yolo.py", "fetch/downloads.py", "data_report/page.py", "evaluation/validate.py"]
)
def test_comment_in_code_that_no_step_uses_keeps_the_fingerprint(copy, file):
    before = of_code(copy)
    path = copy / "retinanet" / file
    path.write_text(path.read_text() + "# a comment\n")
    assert of_code(copy) == before


@pytest.mark.parametrize(
    "file",
    ["dataset/augment.py", "distributed.py", "images/preprocess.py", "losses/detection.py", "training/cpu/winograd.py"],
)
def test_change_in_code_of_a_step_changes_the_fingerprint(copy, file):
    before = of_code(copy)
    path = copy / "retinanet" / file
    path.write_text(path.read_text() + "X = 1\n")
    assert of_code(copy) != before


def test_step_code_covers_everything_that_a_step_imports():
    """Of the training loop's imports, only validation, configuration, errors and files are not covered."""
    covered = set(step_code(ROOT))
    pending = [ROOT / "retinanet/training/fit.py", ROOT / "retinanet/training/start.py"]
    seen = set()
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        package = path.relative_to(ROOT / "retinanet").parts[0]
        if path not in covered:
            name = str(path.relative_to(ROOT / "retinanet"))
            not_covered = (*module.NOT_IN_A_STEP, "errors.py", "files.py", "runtime.py")
            assert package in ("config", "evaluation", "inference") or name in not_covered, name
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("retinanet"):
                imported = ROOT / node.module.replace(".", "/")
                files = [imported.with_suffix(".py"), *(imported / f"{alias.name}.py" for alias in node.names)]
                pending += [file for file in files if file.exists()]


def test_modules_not_in_a_step_exist():
    for name in module.NOT_IN_A_STEP:
        assert (ROOT / "retinanet" / name).exists(), name


def test_fingerprint_is_the_same_in_a_copy_of_the_repository(copy):
    assert of_code(copy) == of_code(ROOT)


def test_fingerprint_changes_with_settings_content_and_weights(tmp_path):
    path = tmp_path / "train.json"
    path.write_text("a")
    before = fingerprint({"epochs": 3}, [path], WEIGHTS)
    assert fingerprint({"epochs": 3}, [path], WEIGHTS) == before
    assert fingerprint({"epochs": 4}, [path], WEIGHTS) != before
    assert fingerprint({"epochs": 3}, [path], {"w": torch.zeros(1)}) != before
    path.write_text("b")
    assert fingerprint({"epochs": 3}, [path], WEIGHTS) != before
