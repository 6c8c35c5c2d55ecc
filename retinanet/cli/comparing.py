"""`retinanet compare`: versions, git revisions, model files and the workspace against each other."""

from pathlib import Path
from types import ModuleType

from retinanet.cli.workspace import evaluation_digest
from retinanet.config.settings import Params
from retinanet.errors import TrackingError
from retinanet.inference.detections import DecodeSettings
from retinanet.tracking import compared_names
from retinanet.tracking.compared_names import Named, named
from retinanet.tracking.differences import differences_text
from retinanet.tracking.disagreements import Detected, write_disagreements
from retinanet.tracking.measured_file import file_side
from retinanet.tracking.registry import find_version
from retinanet.tracking.revisions import revision_side, workspace_side
from retinanet.tracking.sides import Side, Split, version_side
from retinanet.tracking.store import open_client, store_errors


def print_differences(new: str, old: str, page: Path | None, params: Params, paths: ModuleType) -> None:
    """Print what differs between two models that arguments name, and write the page. Raises RetinanetError."""
    if page and page.exists():
        raise TrackingError(f"{page} exists, and no file is replaced; choose another name for --page")
    model_name, metric = params.tracking.model_name, params.promote.metric
    names = [named(text, model_name) for text in (old, new)]
    digest = evaluation_digest()
    split = Split(paths.TEST_JSON, digest) if digest else None
    has_file = any(name.kind == compared_names.FILE for name in names)
    if has_file and split is None:
        raise TrackingError(
            f"{paths.TEST_JSON}: a model file is evaluated on this workspace's test split, which is missing; run "
            "`dvc pull` or `dvc repro evaluate`"
        )
    sides = [_side(name, params, paths, split, has_file) for name in names]
    print(differences_text(model_name, sides[1], sides[0], metric))
    if not page:
        return
    if split is None:
        raise TrackingError("--page needs this workspace's test split; run `dvc pull` or `dvc repro evaluate`")
    old_model, new_model = (_detected(side, split.digest) for side in sides)
    worse, better = write_disagreements(page, model_name, old_model, new_model, split.path)
    print(f"{sides[1].name} is worse on {worse} test images and better on {better}: {page}")


def _detected(side: Side, digest: str) -> Detected:
    stored = side.detections(digest)
    if stored is None:
        raise TrackingError(
            f"{side.name} has no detections on this workspace's test split with its evaluation settings; check out "
            "its commit and run `dvc repro evaluate`"
        )
    return Detected(side.name, stored)


def _side(name: Named, params: Params, paths: ModuleType, split: Split | None, with_file: bool) -> Side:
    metric = params.promote.metric
    if name.kind in (compared_names.GIT, compared_names.EXPERIMENT):
        return revision_side(name.text, name.value, paths, metric, name.kind == compared_names.EXPERIMENT)
    if name.kind == compared_names.FILE and split:
        return file_side(Path(name.value), split, DecodeSettings(**params.evaluate.decoding()), metric)
    if name.kind == compared_names.WORKSPACE:
        return workspace_side(paths, metric)
    with store_errors():
        client = open_client()
        version = find_version(client, params.tracking.model_name, name.value)
        # Beside a file, which is measured now, a version of another test split is measured too.
        return version_side(client, version, metric, split if with_file else None)
