"""The paths of the pipeline's files, which the repository that a command runs in defines in stages/paths.py."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

from retinanet.errors import RetinanetError

PATHS = Path("stages/paths.py")


def workspace_paths() -> ModuleType:
    """The module stages/paths.py of the current folder. Raises RetinanetError outside of a pipeline repository."""
    spec = importlib.util.spec_from_file_location("workspace_paths", PATHS)
    if not PATHS.is_file() or spec is None or spec.loader is None:
        raise RetinanetError(f"{Path.cwd()}: no {PATHS} here; run this command from the root of a pipeline repository")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_workspace() -> bool:
    """Whether the current folder is the root of a pipeline repository."""
    return PATHS.is_file()


def evaluation_digest() -> str | None:
    """The digest of the workspace's evaluation, or None if it has no test set to compare on."""
    paths = workspace_paths()
    if not (paths.EVALUATION_DIGEST.exists() and paths.TEST_JSON.exists()):
        return None
    return str(json.loads(paths.EVALUATION_DIGEST.read_text(encoding="utf-8"))["digest"])


def trusted_keys() -> str:
    """promote.require_signature of the current folder's params.yaml; empty outside of a pipeline repository."""
    if not in_workspace():
        return ""
    from retinanet.config.params import load_params

    return load_params(workspace_paths().PARAMS).promote.require_signature
