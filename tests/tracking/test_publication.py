import json

from retinanet.tracking.publication import register_exported
from retinanet.tracking.registry import find_version, metric_of
from retinanet.tracking.store import open_client
from stages import paths


def test_a_version_and_its_run_have_the_speed_of_the_exported_model(finished):
    client = open_client()
    version = find_version(client, "retinanet", 1)
    registered = [metric_of(version, name) for name in ("latency_p95_ms", "latency_ms", "peak_memory_mb", "read_ms")]
    assert registered == [40.5, 31.25, 250, None]
    assert version.tags["speed.processor"] == "a toy"
    logged = client.get_run(str(version.run_id)).data.metrics
    speed = {name: value for name, value in logged.items() if name.startswith("speed/")}
    assert list(sorted(speed)) == [f"speed/{n}" for n in ("latency_ms", "latency_p95_ms", "peak_memory_mb", "read_ms")]
    assert speed["speed/read_ms"] == 1.5


def test_no_file_that_belongs_to_the_version_depends_on_the_machine(finished):
    record = json.loads((paths.VERSION_RECORD / "version.json").read_text())
    assert not [name for name in (*record["metrics"], *record["tags"]) if "latency" in name or "speed" in name]


def test_a_model_that_an_earlier_release_exported_is_registered_without_its_speed(finished):
    paths.EXPORT_SPEED.unlink()
    run_id = json.loads(paths.RUN.read_text())["run_id"]
    weights = json.loads((paths.VERSION_RECORD / "version.json").read_text()) | {"model_sha256": "other"}
    (paths.VERSION_RECORD / "version.json").write_text(json.dumps(weights))
    version = find_version(open_client(), "retinanet", register_exported("retinanet", run_id, paths))
    assert version.version != "1" and metric_of(version, "latency_p95_ms") is None
