import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from support import stuck_retinanet
from support.service import Clients, running_service
from support.toy_onnx import write_toy_onnx

from retinanet.errors import RetinanetError
from retinanet.files import sha256_of
from retinanet.serving import server
from retinanet.serving.limits import Limits


def test_service_imports_no_torch_and_no_pipeline_libraries():
    code = "import sys, retinanet.serving.server, retinanet.tracking.served_versions, retinanet.cli.inputs;"
    code += "print(*{'torch', 'dvc', 'pandas', 'onnx', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_port_that_is_taken_is_an_error(source):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RetinanetError, match=f"127.0.0.1:{port}: Address already in use; choose another"):
            server.run(source, "127.0.0.1", port, Limits(), 5, 1)


def test_batches_of_a_cpu_have_one_image(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    assert server.default_batch_size() == 1
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert server.default_batch_size() == 8


@pytest.mark.slow
def test_file_is_served_until_sigterm_and_running_requests_are_answered(tmp_path):
    write_toy_onnx(tmp_path / "model.onnx")
    with running_service(tmp_path, "--model", "model.onnx") as service:
        clients = Clients(service, images=16)
        with clients.asking(8):
            time.sleep(2)
            answered = len(clients.answers)
            started = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(15) == 0
            assert time.monotonic() - started < 10
    assert {status for status, _ in clients.answers} == {200}
    # The requests that were running: those of all clients, but of one that was just about to connect.
    assert answered > 0 and len(clients.answers) - answered >= 7
    assert {answer["version"] for _, answer in clients.answers} == {sha256_of(tmp_path / "model.onnx")[:12]}
    assert service.log == ""
    assert service.output[-1] == "stopped"


@pytest.mark.slow
def test_process_ends_while_its_runtime_is_stuck(tmp_path):
    write_toy_onnx(tmp_path / "model.onnx")
    with running_service(tmp_path, "--model", "model.onnx", program=[stuck_retinanet.__file__]) as service:
        clients = Clients(service)
        with clients.asking(1):
            time.sleep(0.5)
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(10) == 0
    assert [status for status, _ in clients.answers] == [503]


@pytest.mark.slow
def test_header_of_100_kb_and_a_broken_request_are_answered_with_400(tmp_path):
    write_toy_onnx(tmp_path / "model.onnx")
    with running_service(tmp_path, "--model", "model.onnx") as service:
        address = ("127.0.0.1", int(service.url.rsplit(":", 1)[1]))
        for request in (b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000, b"\x00\x01\r\n\r\n"):
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(request)
                assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        with urllib.request.urlopen(f"{service.url}/health", timeout=10) as answer:
            assert answer.status == 200
