"""What an argument of `retinanet compare` names: a version, a git revision, a DVC experiment or a model file."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from retinanet.errors import TrackingError
from retinanet.tracking.provenance import git_output
from retinanet.tracking.registry import at_alias, versions
from retinanet.tracking.store import open_client, store_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

WORKSPACE = "workspace"
MODEL_SUFFIXES = (".onnx", ".safetensors")
VERSION, ALIAS, GIT, EXPERIMENT, FILE = "version", "alias", "git", "exp", "file"
# What each prefix says the rest is, e.g. git:production.
KINDS = {
    VERSION: "a version",
    ALIAS: "an alias of a version",
    GIT: "a git revision",
    EXPERIMENT: "a DVC experiment",
    FILE: "a model file",
    WORKSPACE: "the files of this workspace",
}
REGISTRY_NAME = re.compile(r"[\w-]+")  # others are neither numbers nor aliases, and the registry is not asked


class Named(NamedTuple):
    """kind is among KINDS. value is the version's number, the full hash of a commit, or the file's path."""

    kind: str
    value: str
    text: str


def named(text: str, model_name: str, root: Path = Path()) -> Named:
    """What an argument names; `kind:name` says which of several it is. Raises TrackingError: nothing, or several."""
    kind, _, rest = text.partition(":")
    if rest and kind in KINDS and kind != WORKSPACE:
        found = _meanings(rest, model_name, root, (kind,))
        if not found:
            raise TrackingError(f"{text}: there is no {KINDS[kind].split(' ', 1)[1]} {rest}; {_LISTS[kind]}")
    else:
        found = _meanings(text, model_name, root, tuple(KINDS))
    if not found:
        raise TrackingError(
            f"{text}: not a version or alias of {model_name} (`retinanet status`), a branch, tag or commit of git, a "
            "DVC experiment (`dvc exp show`), or an existing .onnx or .safetensors file"
        )
    if len(found) > 1:
        meanings = " and ".join(KINDS[meaning.kind] for meaning in found)
        choices = " or ".join(f"{meaning.kind}:{meaning.text}" for meaning in found if meaning.kind != WORKSPACE)
        raise TrackingError(f"{text}: the name of {meanings}; write {choices}")
    return found[0]


def _meanings(text: str, model_name: str, root: Path, kinds: tuple[str, ...]) -> list[Named]:
    finders: dict[str, Callable[[], str | None]] = {
        VERSION: lambda: _registered(model_name, text) if text.isdecimal() else None,
        ALIAS: lambda: _registered(model_name, text) if not text.isdecimal() else None,
        GIT: lambda: _commit(root, text),
        EXPERIMENT: lambda: _experiment(root, text),
        FILE: lambda: text if text.endswith(MODEL_SUFFIXES) and (root / text).is_file() else None,
        WORKSPACE: lambda: text if text == WORKSPACE else None,
    }
    return [Named(kind, value, text) for kind in kinds if (value := finders[kind]()) is not None]


def _registered(model_name: str, text: str) -> str | None:
    """The number of the version with this number or alias."""
    if not REGISTRY_NAME.fullmatch(text):
        return None
    with store_errors():
        client = open_client()
        found: ModelVersion | None = None
        if text.isdecimal():
            found = next((v for v in versions(client, model_name) if int(v.version) == int(text)), None)
        else:
            found = at_alias(client, model_name, text)
        return None if found is None else str(found.version)


def _commit(root: Path, text: str) -> str | None:
    """The hash of a commit that git finds by this name."""
    found = git_output(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
    refs = [f"refs/heads/{text}", f"refs/tags/{text}"]
    commits = {git_output(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}") for ref in refs} - {None}
    if len(commits) > 1:
        raise TrackingError(f"{text}: a branch and a tag of git; write git:{refs[0]} or git:{refs[1]}")
    return found or None


def _experiment(root: Path, text: str) -> str | None:
    """The hash of the commit of a DVC experiment, which has a ref refs/exps/<hash of its baseline>/<name>."""
    lines = (git_output(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps/") or "").splitlines()
    refs = [line.split(" ", 1) for line in lines]
    # refs/exps/exec/ and the like have no hash.
    found = [commit for commit, ref in refs if re.fullmatch(rf"refs/exps/\w\w/\w{{38}}/{re.escape(text)}", ref)]
    if len(found) > 1:
        commits = ", ".join(commit[:7] for commit in found)
        raise TrackingError(f"{text}: the name of {len(found)} DVC experiments; write one of their commits: {commits}")
    return found[0] if found else None


_LISTS = {
    VERSION: "`retinanet status` lists the versions",
    ALIAS: "`retinanet status` lists the versions with their aliases",
    GIT: "`git branch -a` and `git tag` list names",
    EXPERIMENT: "`dvc exp show` lists the experiments",
    FILE: "give the path of an .onnx or .safetensors file",
}
