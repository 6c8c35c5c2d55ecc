"""The registered versions as a table, with the one in production and how it came there."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from retinanet.tracking.failures import shown_uri
from retinanet.tracking.history import NO_VERSION, Entry, entries, moved_outside
from retinanet.tracking.locations import tracking_uri
from retinanet.tracking.promotion import read_standing, way_out
from retinanet.tracking.registry import PREVIOUS, at_alias, metric_of, versions
from retinanet.tracking.store import open_client, store_errors
from retinanet.tracking.view import model_page, runs_page

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

LOCAL_PAGES = "http://127.0.0.1:5000/"
MAX_ROWS = 10
LAST_CHANGES = 3
MAX_REASON = 80  # characters


def status_text(model_name: str, metric: str, workspace_version: int | None, experiment: str = "") -> str:
    """A line for each of the newest versions and of those with a role, the last changes, and how to open MLflow's UI.

    experiment is the one whose runs are linked. Raises TrackingError.
    """
    with store_errors():
        client = open_client()
        registered = versions(client, model_name)
        standing = read_standing(client, model_name)
        roles = {
            "production": _number(standing.production),
            "previous": _number(at_alias(client, model_name, PREVIOUS)),
            "workspace": workspace_version,
        }
        history = entries(client, model_name)
        links = _links(client, model_name if registered else "", experiment)
    lines = [f"{role + ':':12}{f'version {number}' if number else 'none'}" for role, number in roles.items()]
    if standing.numbers and standing.production is None:
        lines[0] += f": {way_out(standing)}"
    elif moved := moved_outside(history, roles["production"] or NO_VERSION):
        lines[0] += f": {moved}"
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
    return "\n".join([*lines, *_last_changes(history), "", f"MLflow UI: {pages_hint()}", *links])


def history_text(model_name: str) -> str:
    """Every promotion and rollback, the last one first, with the reason and the gate's answer. Raises TrackingError."""
    with store_errors():
        history = entries(open_client(), model_name)
    if not history:
        return f"no version of {model_name} was promoted yet"
    lines = []
    for entry in reversed(history):
        lines.append(_line(entry))
        lines += [f"    reason: {entry.change.reason}"] if entry.change.reason else []
        lines += [f"    gate: {entry.change.gate}"] if entry.change.gate else []
    return "\n".join(lines)


def pages_hint() -> str:
    """The command that starts MLflow's UI on the store, or a server's address; without a password."""
    uri = tracking_uri()
    if uri.startswith("http"):
        return shown_uri()
    shown = uri if uri == shown_uri() else '"$MLFLOW_TRACKING_URI"'
    return f"uv run mlflow ui --backend-store-uri {shown}"


def _links(client: "MlflowClient", model_name: str, experiment: str) -> list[str]:
    """The addresses of the pages of runs and of the model."""
    server = f"{shown_uri().rstrip('/')}/" if tracking_uri().startswith("http") else LOCAL_PAGES
    found = client.get_experiment_by_name(experiment) if experiment else None
    lines = [f"  runs:  {server}{runs_page(found.experiment_id)}"] if found else []
    return lines + ([f"  model: {server}{model_page(model_name)}"] if model_name else [])


def _last_changes(history: Sequence[Entry]) -> list[str]:
    lines = [f"{_line(entry)}  {_shortened(entry.change.reason)}".rstrip() for entry in history[-LAST_CHANGES:]]
    if len(history) > LAST_CHANGES:
        lines.insert(0, f"{len(history) - LAST_CHANGES} earlier changes: retinanet status --history")
    return ["", *lines] if lines else []


def _line(entry: Entry) -> str:
    change, unfinished = entry.change, "" if entry.is_done else "  not done yet"
    versions = f"{change.before or 'none'} -> {change.version}"
    return f"{entry.at:%Y-%m-%d %H:%M}  {change.action:8}  {versions:12}  {entry.by}{unfinished}"


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"


def _number(version: "ModelVersion | None") -> int | None:
    return int(version.version) if version else None
