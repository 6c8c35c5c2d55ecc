"""The registered versions as a table, with the one in production."""

from datetime import datetime
from typing import TYPE_CHECKING

from retinanet.tracking.failures import shown_uri
from retinanet.tracking.locations import tracking_uri
from retinanet.tracking.registry import PREVIOUS, PRODUCTION, at_alias, metric_of, versions
from retinanet.tracking.store import open_client, store_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MAX_ROWS = 10


def status_text(model_name: str, metric: str, workspace_version: int | None) -> str:
    """A line for each of the newest versions and of those with a role, and how to open MLflow's UI.

    Raises TrackingError.
    """
    with store_errors():
        client = open_client()
        registered = versions(client, model_name)
        roles = {
            "production": _number(at_alias(client, model_name, PRODUCTION)),
            "previous": _number(at_alias(client, model_name, PREVIOUS)),
            "workspace": workspace_version,
        }
    lines = [f"{role + ':':12}{f'version {number}' if number else 'none'}" for role, number in roles.items()]
    shown = [v for row, v in enumerate(registered) if row < MAX_ROWS or int(v.version) in roles.values()]
    if shown:
        lines += ["", f"{'version':8} {metric:>8}  {'registered':16}  {'commit':8}  role"]
    for version in shown:
        value = metric_of(version, metric)
        registered_at = datetime.fromtimestamp(version.creation_timestamp / 1000).strftime("%Y-%m-%d %H:%M")
        commit = version.tags.get("git.commit", "")[:7] + ("*" if version.tags.get("dirty") == "true" else "")
        role = " ".join(role for role, number in roles.items() if number == int(version.version))
        text = "-" if value is None else f"{value:.4f}"
        lines.append(f"{version.version!s:8} {text:>8}  {registered_at}  {commit:8}  {role}".rstrip())
    if any(version.tags.get("dirty") == "true" for version in shown):
        lines.append("* with uncommitted changes")
    if not shown:
        lines.append(f"{model_name} has no versions yet; `dvc repro` registers one")
    return "\n".join([*lines, "", f"MLflow UI: {pages_hint()}"])


def pages_hint() -> str:
    """The command that starts MLflow's UI on the store, or a server's address; without a password."""
    uri = tracking_uri()
    if uri.startswith("http"):
        return shown_uri()
    shown = uri if uri == shown_uri() else '"$MLFLOW_TRACKING_URI"'
    return f"uv run mlflow ui --backend-store-uri {shown}"


def _number(version: "ModelVersion | None") -> int | None:
    return int(version.version) if version else None
