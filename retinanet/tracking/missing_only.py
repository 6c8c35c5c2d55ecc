"""Logging again what a run may have already: only what the store lacks is sent."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from retinanet.files import sha256_of
from retinanet.tracking.entries import metric_name
from retinanet.tracking.runs import Run, files_below
from retinanet.tracking.store import long_timeouts

if TYPE_CHECKING:
    from mlflow import MlflowClient


class MissingOnly:
    """A retinanet.tracking.publication.Log to a run of the store. Raises what MLflow raises."""

    def __init__(self, client: "MlflowClient", run: Run):
        self._client, self._run = client, run
        self._stored = client.get_run(run.id)
        self._histories: dict[str, list[tuple[int, float]]] = {}
        self._sizes: dict[str, dict[str, int]] = {}
        self._counts = dict.fromkeys(("param", "metric value", "artifact", "dataset"), 0)

    def summary(self) -> str:
        """What was added; empty if nothing was."""
        added = [f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in self._counts.items() if count]
        return f"{', '.join(added)} added to run {self._run.id}" if added else ""

    def log_params(self, params: Mapping) -> None:
        missing = {key: value for key, value in params.items() if metric_name(key) not in self._stored.data.params}
        self._counts["param"] += len(missing)
        if missing:
            self._run.log_params(missing)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        missing = {key: value for key, value in metrics.items() if not self._has_value(key, float(value), step or 0)}
        self._counts["metric value"] += len(missing)
        if missing:
            self._run.log_metrics(missing, step)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        if not self._has_file(path, folder):
            self._counts["artifact"] += 1
            self._run.log_artifact(path, folder)

    def log_artifacts(self, path: Path, folder: str | None = None) -> None:
        for file, below in files_below(path, folder):
            self.log_artifact(file, below)

    def log_dataset(self, name: str, digest: str, source: str, context: str, profile: Mapping | None = None) -> None:
        rows = self._stored.inputs.dataset_inputs if self._stored.inputs else []
        if (name, digest[:36]) not in [(row.dataset.name, row.dataset.digest) for row in rows]:
            self._counts["dataset"] += 1
            self._run.log_dataset(name, digest, source, context, profile)

    def _has_value(self, key: str, value: float, step: int) -> bool:
        name = metric_name(key)
        if name not in self._histories:
            history = self._client.get_metric_history(self._run.id, name) if name in self._stored.data.metrics else []
            self._histories[name] = [(metric.step, metric.value) for metric in history]
        # Files round in the last digit.
        return any(s == step and math.isclose(v, value, rel_tol=1e-9) for s, v in self._histories[name])

    def _has_file(self, path: Path, folder: str | None) -> bool:
        """Whether the run has this file with this content."""
        name = f"{folder}/{path.name}" if folder else path.name
        if self._sizes_in(folder or "").get(name) != path.stat().st_size:
            return False
        with tempfile.TemporaryDirectory() as copies, long_timeouts(path.stat().st_size):
            return sha256_of(self._client.download_artifacts(self._run.id, name, copies)) == sha256_of(path)

    def _sizes_in(self, folder: str) -> dict[str, int]:
        """The sizes of the run's artifacts in a folder, by path."""
        if folder not in self._sizes:
            listed = self._client.list_artifacts(self._run.id, folder or None)
            self._sizes[folder] = {file.path: file.file_size or 0 for file in listed if not file.is_dir}
        return self._sizes[folder]
