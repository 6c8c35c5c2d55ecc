"""The notebook names what exists, was executed from top to bottom, and executes."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import nbformat
import pytest
import yaml
from dvc.cli.parser import get_main_parser
from pydantic import BaseModel

from retinanet.cli.main import _parser
from retinanet.config.settings import Params

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "RetinaNet_v1.ipynb"
PARTS = [
    "1. Dataset sources",
    "2. Data preparation",
    "3. Model development",
    "4. Training pipeline",
    "5. Evaluation metrics",
    "6. Inference pipeline",
    "7. Loading pretrained weights",
    "8. Validation",
    "9. Grad-CAM",
]
MAX_BYTES = 3_000_000
MAX_CELL_SECONDS = 600  # on a busy machine


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def cells(notebook: nbformat.NotebookNode, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def text(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells)


def test_notebook_is_valid_and_small_enough_to_commit(notebook):
    nbformat.validate(notebook)
    assert NOTEBOOK.stat().st_size < MAX_BYTES


def test_parts_come_in_order(notebook):
    prose = "\n".join(cell.source for cell in cells(notebook, "markdown"))
    assert re.findall(r"^## (.+)$", prose, re.MULTILINE)[: len(PARTS)] == PARTS


def test_notebook_was_executed_from_top_to_bottom_without_errors(notebook):
    code = cells(notebook, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_each_cell_that_shows_an_image_has_one(notebook):
    for cell in cells(notebook, "code"):
        if re.search(r"^ *show\(", cell.source, re.MULTILINE):
            assert any("image/jpeg" in output.get("data", {}) for output in cell.outputs), cell.source


def test_outputs_have_no_absolute_paths(notebook):
    texts = [
        str(value)
        for cell in cells(notebook, "code")
        for output in cell.outputs
        for kind, value in {"text": output.get("text", ""), **output.get("data", {})}.items()
        if not kind.startswith("image/")
    ]
    assert not re.findall(r"(?<![\w.])/(?:tmp|home|root|work|usr|Users)/\S+", "\n".join(texts))


def test_each_image_follows_a_sentence_that_says_what_to_look_for(notebook):
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        images = [o for o in cell.get("outputs", []) if any(k.startswith("image/") for k in o.get("data", {}))]
        assert len(images) <= 1, cell.source
        if images:
            assert before.cell_type == "markdown", cell.source
            assert re.search(r"\b([Ss]ee|[Ll]ook|[Ww]atch|[Cc]ompare)\b", before.source), before.source


def test_imported_names_exist(notebook):
    for cell in cells(notebook, "code"):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name), f"{node.module}.{name.name}"


def test_named_params_exist(notebook):
    names = set(re.findall(r"\bparams\.([a-z_]+(?:\.[a-z_]+)*)", text(notebook)))
    assert names
    for name in names:
        section: type = Params
        for key in name.split("."):
            if not issubclass(section, BaseModel) or key not in section.model_fields:
                # Not a key: perhaps a method of the section or of its value.
                assert hasattr(section, key) and section is not Params, f"params.{name}"
                break
            kind = section.model_fields[key].annotation
            section = kind if isinstance(kind, type) else object


def test_named_commands_exist(notebook):
    prose = "\n".join(cell.source for cell in cells(notebook, "markdown"))
    commands = re.findall(r"(?:uv run )?\b((?:retinanet|dvc) [a-z][^`\n]*)", "\n".join(code_of(prose)))
    assert {command.split()[0] for command in commands} == {"retinanet", "dvc"}
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for command in commands:
        program, *arguments = shlex.split(command)
        parsed = {"retinanet": _parser, "dvc": get_main_parser}[program]().parse_args(arguments)
        if program == "dvc":
            assert set(getattr(parsed, "targets", None) or []) <= set(stages), command


def code_of(prose: str) -> list[str]:
    """Text in backticks and in blocks of shell commands."""
    blocks = re.findall(r"```bash\n(.*?)```", prose, re.DOTALL)
    return [*blocks, *re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose)]


@pytest.mark.slow
@pytest.mark.xdist_group("workspace")
def test_notebook_executes_after_dvc_repro(workspace):
    """The model is hardly trained: no part may depend on detections."""
    workspace.run("jupyter", "execute", f"--timeout={MAX_CELL_SECONDS}", "--output=reports/notebook", NOTEBOOK.name)
    done = nbformat.read(workspace.folder / "reports/notebook.ipynb", as_version=4)
    test_notebook_was_executed_from_top_to_bottom_without_errors(done)
    test_outputs_have_no_absolute_paths(done)
