"""What is in production, and what could be, as a small table."""

from datetime import datetime
from typing import TYPE_CHECKING

from retinanet.tracking.registry import PREVIOUS, PRODUCTION, at_alias, metric_of, versions
from retinanet.tracking.store import open_client, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

LATEST = 10


def status_text(model_name: str, metric: str, workspace_version: int | None) -> str:
    """The newest versions and those with a role, one a line, and how to see more. Raises TrackingError."""
    client = open_client()
    known = versions(client, model_name)
    roles = {
        "production": _number(at_alias(client, model_name, PRODUCTION)),
        "previous": _number(at_alias(client, model_name, PREVIOUS)),
        "workspace": workspace_version,
    }
    lines = [f"{role + ':':12}{f'version {number}' if number else 'none'}" for role, number in roles.items()]
    shown = [v for row, v in enumerate(known) if row < LATEST or int(v.version) in roles.values()]
    if shown:
        lines += ["", f"{'version':8} {metric:>8}  {'made':16}  {'commit':8}  role"]
    for version in shown:
        figure = metric_of(version, metric)
        made = datetime.fromtimestamp(version.creation_timestamp / 1000).strftime("%Y-%m-%d %H:%M")
        commit = version.tags.get("git.commit", "")[:7] + ("*" if version.tags.get("dirty") == "true" else "")
        role = " ".join(role for role, number in roles.items() if number == int(version.version))
        text = "-" if figure is None else f"{figure:.4f}"
        lines.append(f"{version.version!s:8} {text:>8}  {made}  {commit:8}  {role}".rstrip())
    if any(version.tags.get("dirty") == "true" for version in shown):
        lines.append("* with changes that the commit does not hold")
    if not shown:
        lines.append(f"{model_name} has no versions yet; `dvc repro` makes one")
    return "\n".join([*lines, "", f"pages: uv run mlflow ui --backend-store-uri {tracking_uri()}"])


def _number(version: "ModelVersion | None") -> int | None:
    return int(version.version) if version else None
