import base64
import json
import zlib

from retinanet.tracking.store import open_client, open_experiment
from retinanet.tracking.view import TAG, runs_page


def test_open_experiment_saves_the_view_once(root):
    experiment_id = open_experiment("birds")
    saved = open_client().get_experiment(experiment_id).tags[TAG]
    state = json.loads(saved)["state"].removeprefix("deflate;")
    view = json.loads(zlib.decompress(base64.b64decode(state)))
    assert view["selectedColumns"][:2] == ["metrics.`test/AP50`", "metrics.`test/AP`"]
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`test/AP50`", False)
    open_experiment("birds")
    assert open_client().get_experiment(experiment_id).tags[TAG] == saved


def test_open_experiment_updates_an_older_view_in_place(root):
    client, experiment_id = open_client(), open_experiment("birds")
    client.set_experiment_tag(experiment_id, TAG, json.dumps({"name": "old", "createdAt": 5, "state": "deflate;x"}))
    open_experiment("birds")
    view = json.loads(client.get_experiment(experiment_id).tags[TAG])
    assert view["createdAt"] == 5 and view["state"] != "deflate;x" and view["updatedAt"] > 5


def test_runs_page_names_the_experiment_and_the_view():
    assert runs_page("7") == "#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=retinanet"
