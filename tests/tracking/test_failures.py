import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, PERMISSION_DENIED

from retinanet.errors import TrackingError
from retinanet.tracking.failures import fix_of, is_refusal, reason_of, unreachable, without_password


def answered(status: int) -> requests.HTTPError:
    """What the client of an artifact store raises for a server's answer."""
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} Client Error", response=response)


def through_api(status: int) -> MlflowException:
    """What MLflow's client raises for an answer that is not of MLflow's server; its code is INTERNAL_ERROR."""
    return MlflowException(f"API request to endpoint /x failed with error code {status} != 200. Response body: ''")


class BotoError(Exception):
    def __init__(self):
        self.response = {"ResponseMetadata": {"HTTPStatusCode": 400}}


@pytest.mark.parametrize(
    "error",
    [
        answered(413),
        through_api(413),
        answered(400),
        BotoError(),
        MlflowException("no such run", INVALID_PARAMETER_VALUE),
        FileNotFoundError(2, "No such file"),
        ModuleNotFoundError("No module named 'boto3'", name="boto3"),
        TrackingError("experiment birds is deleted"),
    ],
)
def test_is_refusal_of_what_is_never_accepted(error):
    assert is_refusal(error)


@pytest.mark.parametrize(
    "error",
    [
        *(make(status) for status in (401, 403, 404, 429, 500, 502, 503, 504) for make in (answered, through_api)),
        requests.ConnectionError("refused"),
        requests.Timeout("slow"),
        MlflowException("token expired", PERMISSION_DENIED),
        MlflowException("database is locked"),
        OSError(28, "No space left on device"),
        RuntimeError("anything else"),
    ],
)
def test_what_may_be_accepted_later_is_no_refusal(error):
    assert not is_refusal(error)


def test_unreachable_keeps_the_cause_that_decides_whether_it_is_a_refusal():
    for error, expected in ((answered(413), True), (answered(503), False)):
        try:
            raise unreachable(error) from error
        except TrackingError as raised:
            assert is_refusal(raised) is expected


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (answered(401), "set MLFLOW_TRACKING_TOKEN"),
        (through_api(413), "nginx: client_max_body_size"),
        (ModuleNotFoundError("No module named 'boto3'", name="boto3"), r"run pip install 'retinanet[s3]'"),
        (ModuleNotFoundError("No module named 'azure'", name="azure.storage"), "run pip install azure-storage-blob"),
        (PermissionError(13, "Permission denied"), "it is read-only here"),
        (requests.ConnectionError("refused"), "start the server"),
        (MlflowException("got unsupported URI 'sqlite:///mlflow.db' for model registry"), "run pip install mlflow"),
    ],
)
def test_fix_of_an_error_says_what_to_do(error, fix, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert fix in fix_of(error)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:5000/x", "http://me:***@host:5000/x"),
        ("API request to https://me:se:c@ret@host/a failed", "API request to https://me:***@host/a failed"),
        ("postgresql+psycopg2://me:secret@db/mlflow", "postgresql+psycopg2://me:***@db/mlflow"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
    ],
)
def test_without_password_hides_it_in_any_text(text, shown):
    assert without_password(text) == shown


def test_errors_name_the_store_without_its_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    error = requests.ConnectionError("http://me:secret@127.0.0.1:9/api: refused")
    assert str(unreachable(error)).startswith(
        "http://me:***@127.0.0.1:9: http://me:***@127.0.0.1:9/api: refused; start"
    )
    assert "secret" not in reason_of(error)
