import json

import pytest
from support.asking import ask
from support.pet_models import encoded

from benchmarks.bad_requests import bad_requests
from retinanet.images.tiles import Tiling
from retinanet.serving import bodies

BAD = bad_requests()
CAT_AND_DOG = {"boxes": [[0, 0, 8, 6], [0, 0, 4, 3]], "scores": [0.9, 0.2], "labels": ["cat", "dog"], "error": None}


def test_json_is_answered_with_boxes_labels_and_the_version(start):
    answer = ask(start(), encoded())
    assert answer.status_code == 200
    assert answer.json() == {"model": "pets", "version": "1", "results": [CAT_AND_DOG]}


def test_form_gives_the_same_answer_as_json(start):
    client = start()
    files = [("images", ("a.png", encoded(), "image/png")), ("images", ("b", encoded(20, 10)))]
    answer = client.post("/detect", files=files, data={"score_threshold": "0.5"})
    assert answer.json() == ask(client, encoded(), encoded(20, 10), score_threshold=0.5).json()
    assert [result["labels"] for result in answer.json()["results"]] == [["cat"], ["cat"]]


def test_detections_have_the_threshold_of_their_class_unless_the_request_has_one(start):
    client = start()
    assert ask(client, encoded()).json()["results"][0]["labels"] == ["cat", "dog"]  # thresholds 0.5 and 0.1
    for threshold, labels in ((0, ["cat", "dog"]), (0.5, ["cat"]), (1, [])):
        assert ask(client, encoded(), score_threshold=threshold).json()["results"][0]["labels"] == labels


def test_unreadable_image_has_an_error_and_the_others_are_answered(start):
    answer = ask(start(), encoded(), b"no image", encoded(1, 1))
    assert answer.status_code == 200
    assert [len(result["boxes"]) for result in answer.json()["results"]] == [2, 0, 2]
    assert "expected JPEG" in answer.json()["results"][1]["error"]


@pytest.mark.parametrize("name", BAD)
def test_bad_request_is_a_4xx_of_one_line(start, name):
    bad = BAD[name]
    body = json.dumps({"images": [bad.image]}).encode() if bad.body is None else bad.body
    answer = start().post("/detect", content=body, headers={"Content-Type": bad.content_type, **dict(bad.headers)})
    assert 400 <= answer.status_code < 500
    errors = [answer.json().get("error"), *(result["error"] for result in answer.json().get("results", []))]
    [error] = [error for error in errors if error]
    assert "\n" not in error and "Traceback" not in error and 'File "' not in error and " object at 0x" not in error


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"files": {"image": b"a"}}, "unknown field; did you mean images?"),
        ({"files": {"x": b""}, "data": {"score_threshold": "0.5"}}, "unknown field"),
        ({"data": {"images": "/etc/passwd"}, "files": {"images": b""}}, "images: must be files, with a file name each"),
        ({"files": {"images": b"a"}, "data": {"score_threshold": "nan"}}, "score_threshold: Input should be a finite"),
        ({"files": {"images": b"a"}, "data": {"score_threshold": "1.5"}}, "score_threshold: Input should be less than"),
        ({"files": {"images": b"a"}, "data": {"score_threshold": ["0", "1"]}}, "score_threshold: more than one value"),
    ],
)
def test_bad_form_is_refused(start, fields, error):
    answer = start().post("/detect", **fields)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(error)


def test_unknown_path_and_method_are_answered_in_json(start):
    client = start()
    assert (client.get("/nothing").status_code, client.get("/nothing").json()) == (404, {"error": "Not Found"})
    assert (client.get("/detect").status_code, client.get("/detect").json()) == (405, {"error": "Method Not Allowed"})


@pytest.mark.parametrize("is_chunked", [False, True])
def test_too_large_a_body_is_refused_while_it_is_read(start, is_chunked):
    sent = []

    def chunks():
        for _ in range(100):
            sent.append(1)
            yield bytes(100_000)

    content = chunks() if is_chunked else bytes(1_000_001)
    answer = start(body_mb=1).post("/detect", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["error"].startswith("the body has more than 1000000 bytes")


def test_bodies_of_all_requests_are_limited_together(start, monkeypatch):
    client = start(body_mb=1)
    monkeypatch.setattr(bodies, "MAX_BODIES_HELD", 0.001)
    assert ask(client, encoded(8, 6)).status_code == 200  # some 100 bytes of 1,000
    assert ask(client, encoded(40, 40, "BMP")).status_code == 503
    assert ask(client, encoded(8, 6)).status_code == 200


def test_limits_of_pixels_images_and_tiles(start, source):
    source.tiling = Tiling(100, 0.0)
    client = start(megapixels=1, images=2, tiles=3)
    answer = ask(client, encoded(1001, 1000), encoded(400, 10))
    assert [result["error"] for result in answer.json()["results"]] == [
        "the image has 1001 x 1000 pixels; at most 1000000 are accepted",
        "the image of 400 x 10 pixels would be cut into 4 tiles; at most 3 are accepted: send it in parts",
    ]
    assert answer.status_code == 422
    assert ask(client, *[encoded()] * 3).json() == {"error": "3 images in one request; at most 2 are accepted"}
    files = [("images", ("a.png", encoded()))] * 3
    assert client.post("/detect", files=files).json() == {"error": "Too many files. Maximum number of files is 2."}


def test_failure_of_the_network_is_a_500_without_its_reason(start, source):
    client = start()
    source.network.fail_on = lambda images: True
    answer = ask(client, encoded())
    assert (answer.status_code, answer.json()) == (500, {"error": "the service failed; its log says why"})
    source.network.fail_on = lambda images: False
    assert ask(client, encoded()).status_code == 200


def test_health_names_the_version_and_why_another_is_not_served(start, source, capsys):
    client = start()
    healthy = {"ready": True, "model": "pets", "version": "1", "problem": None}
    assert client.get("/health").json() == healthy
    source.version = "damaged"
    client.service.models.refresh()
    health = client.get("/health").json()
    assert (health["version"], health["problem"]) == ("1", "unexpected RuntimeError; the log has the traceback")
    assert "still serving version 1: unexpected RuntimeError" in capsys.readouterr().err


def test_metrics_count_requests_images_batches_and_name_the_version(start, source):
    client = start()
    ask(client, encoded(), b"no image")
    client.post("/detect", content=b"")
    text = client.get("/metrics").text
    for line in (
        'retinanet_requests_total{status="200"} 1.0',
        'retinanet_requests_total{status="415"} 1.0',
        'retinanet_images_total{result="detected"} 1.0',
        'retinanet_images_total{result="refused"} 1.0',
        "retinanet_request_seconds_count 2.0",
        'retinanet_batch_images_bucket{le="1.0"} 1.0',
        "retinanet_waiting_images 0.0",
        'retinanet_model_info{name="pets",version="1"} 1.0',
        "retinanet_model_problem 0.0",
    ):
        assert line in text.splitlines(), line


def test_openapi_describes_both_bodies_and_every_answer(start):
    client = start(images=7)
    operation = client.get("/openapi.json").json()["paths"]["/detect"]["post"]
    content = operation["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    schema = content["application/json"]["schema"]
    assert schema["properties"]["images"]["maxItems"] == 7
    assert client.post("/detect", json=schema["examples"][0]).status_code == 200
    assert set(operation["responses"]) == {"200", "400", "408", "413", "415", "422", "503"}
