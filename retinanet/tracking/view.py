"""A saved view of MLflow's runs table: the deciding metrics and settings first, the best run on top.

The frontend keeps it in a tag of the experiment; the format is its own (tried with MLflow 3.17).
"""

import base64
import json
import time
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

VIEW = "retinanet"
TAG = f"mlflow.sharedViewState.{VIEW}"
METRICS = ("test/AP50", "test/AP", "val/AP50", "val/AP")
# Those that people change; a run's name says which did change.
PARAMS = (
    "model.backbone",
    "model.short_side",
    "train.epochs",
    "train.batch_size",
    "train.learning_rate",
    "train.box_loss",
)


def save_view(client: "MlflowClient", experiment: "Experiment") -> None:
    """Store the view unless it is there already."""
    state = _state()
    saved = json.loads(experiment.tags.get(TAG, "{}"))
    if saved.get("state") != state:
        now = time.time_ns() // 1_000_000
        view = {
            "name": "Test metrics first",
            "createdAt": saved.get("createdAt", now),
            "updatedAt": now,
            "state": state,
        }
        client.set_experiment_tag(experiment.experiment_id, TAG, json.dumps(view))


def runs_page(experiment_id: str) -> str:
    """The address of the runs table in this view, below the server's."""
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"


def model_page(model_name: str) -> str:
    """The address of a registered model's page, below the server's."""
    return f"#/models/{model_name}?workflowType=machine_learning"


def _state() -> str:
    columns = [f"metrics.`{name}`" for name in METRICS] + [f"params.`{name}`" for name in PARAMS]
    columns += ["attributes.`Dataset`", "attributes.`Models`"]
    widths = dict.fromkeys(columns, 90) | {"attributes.`Dataset`": 160, "attributes.`Models`": 120}
    state = {
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": widths | {"attributes.`Run Name`": 260},
        "orderByKey": columns[0],
        "orderByAsc": False,
        "searchFilter": "",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsHidden": [],
        "runsPinned": [],
        "runsExpanded": {},
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
    }
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
