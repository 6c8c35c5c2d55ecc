import asyncio
import json
import threading

import numpy as np
from support.asking import ask, in_background
from support.pet_models import base64_of, encoded, new_service

from retinanet.images.tiles import Tiling
from retinanet.serving import service
from retinanet.serving.app import create_app


def test_tiles_of_an_image_are_run_in_batches_and_joined_like_the_detector_does(start, source):
    source.tiling = Tiling(100, 0.2)
    client = start(batch_size=2)
    result = ask(client, encoded(340, 90)).json()["results"][0]
    assert sum(source.network.batches) == 4
    [expected] = client.service.models.current.detector([np.zeros((90, 340, 3), np.uint8)])
    expected = expected.above((0.5, 0.1))
    assert result["boxes"] == [[round(float(edge), 2) for edge in box] for box in expected.boxes_xyxy]


def test_full_queue_is_answered_with_503_and_retry_after(start, source):
    client = start(queue=2)
    source.network.go.clear()
    thread, answers = in_background(ask, client, encoded(), encoded())
    source.network.started.wait(10)
    refused = ask(client, encoded())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    source.network.go.set()
    thread.join()
    assert answers[0].status_code == 200
    assert ask(client, *[encoded()] * 5).status_code == 200  # a request alone is always accepted


def test_request_that_takes_too_long_is_given_up(start, source):
    client = start(seconds=1)
    source.network.go.clear()
    answer = ask(client, encoded())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "not done in 1 s" in answer.json()["error"]
    source.network.go.set()
    assert ask(client, encoded()).status_code == 200


def test_waiting_requests_are_given_up_when_the_service_stops(start, source):
    client = start()
    source.network.go.clear()
    thread, answers = in_background(ask, client, encoded())
    source.network.started.wait(10)
    client.service.stop_in(0)
    thread.join(10)
    assert (answers[0].status_code, answers[0].json()) == (503, {"error": "the service is stopping"})


def test_request_keeps_its_version_while_another_one_replaces_it(start, source):
    client = start()
    source.network.go.clear()
    thread, answers = in_background(ask, client, encoded(), encoded())
    source.network.started.wait(10)
    source.version = "2"
    threading.Timer(0.1, source.network.go.set).start()
    client.service.models.refresh()
    thread.join(10)
    assert answers[0].json()["version"] == "1"
    assert ask(client, encoded()).json()["version"] == "2"


def test_health_is_answered_while_the_network_runs(start, source):
    client = start()
    source.network.go.clear()
    thread, _ = in_background(ask, client, encoded())
    source.network.started.wait(10)
    assert client.get("/health").status_code == 200
    assert thread.is_alive()
    source.network.go.set()
    thread.join()


def test_images_of_a_client_that_has_gone_are_dropped(source):
    created = new_service(source)
    app = create_app(created)
    body = json.dumps({"images": [base64_of(encoded())] * 5}).encode()
    scope = {"type": "http", "method": "POST", "path": "/detect", "query_string": b"", "http_version": "1.1"}
    scope |= {"headers": [(b"content-type", b"application/json")], "asgi": {"version": "3.0"}, "scheme": "http"}

    async def main():
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            await asyncio.to_thread(source.network.started.wait, 10)
            return {"type": "http.disconnect"}

        async def send(message):
            pass

        source.network.go.clear()
        async with created.running():
            await asyncio.wait_for(app(scope, receive, send), 10)
            source.network.go.set()
            await asyncio.sleep(0.1)

    asyncio.run(main())
    assert source.network.batches == [1]  # the image that the network had begun
    assert created.metrics.registry.get_sample_value("retinanet_requests_total", {"status": "499"}) == 1
    assert created.metrics.registry.get_sample_value("retinanet_waiting_images") == 0


def test_large_image_that_is_given_up_keeps_its_place_until_it_is_decoded(start, monkeypatch):
    decoded, running, most = threading.Event(), [], []

    def decode(content, reading):
        running.append(1)
        most.append(len(running))
        decoded.wait(10)
        running.pop()
        return np.zeros((6, 8, 3), np.uint8)

    monkeypatch.setattr(service, "decode_image", decode)
    monkeypatch.setattr(service, "LARGE_PIXELS", 1)
    client = start(seconds=1)
    assert [ask(client, encoded()).status_code for _ in range(2)] == [503, 503]
    decoded.set()
    assert ask(client, encoded()).status_code == 200
    assert most == [1, 1]
