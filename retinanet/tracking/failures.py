"""What a failure of the store means: try again later, leave the entry out, or say what the user can do."""

import errno
import re
from collections.abc import Iterator

from retinanet.errors import TrackingError
from retinanet.tracking.locations import database_path, tracking_uri

# Expired credentials, timeouts, rate limits and proxies in front of a stopped server: later, the entry may be accepted.
RETRIED_STATUSES = (401, 403, 404, 407, 408, 425, 429, 499)
RETRIED_CODES = (
    "TEMPORARILY_UNAVAILABLE",
    "INTERNAL_ERROR",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
    "IO_ERROR",
    "ENDPOINT_NOT_FOUND",
    "UNAUTHENTICATED",
    "CUSTOMER_UNAUTHORIZED",
    "PERMISSION_DENIED",
)
# Errors of the file that is sent, or of a local store's folder.
FILE_ERRORS = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
# What to install for a module that an artifact store needs, if the package has another name.
PACKAGES = {"boto3": "'retinanet[s3]'", "google": "google-cloud-storage", "azure": "azure-storage-blob"}
PASSWORD = re.compile(r"(://[^\s/:@]*):[^\s/]*@")
MAX_REASON = 200

CREDENTIALS = "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
PROXY_LIMIT = "raise the request size limit of the proxy in front of the server (nginx: client_max_body_size)"


def is_refusal(error: Exception) -> bool:
    """Whether the store will never accept an entry, so that the entries after it must not wait for it."""
    status = _http_status(error)
    if status:
        return 400 <= status < 500 and status not in RETRIED_STATUSES
    for cause in _causes(error):
        if isinstance(cause, ImportError):
            return True
        if code := getattr(cause, "error_code", None):
            return code not in RETRIED_CODES
        if isinstance(cause, OSError):
            return cause.errno in FILE_ERRORS
    return isinstance(error, TrackingError)  # a deleted run or experiment


def unreachable(error: Exception) -> TrackingError:
    """An error of the store as a TrackingError, with a fix."""
    return TrackingError(f"{shown_uri()}: {reason_of(error, 300)}; {fix_of(error)}")


def reason_of(error: Exception, length: int = MAX_REASON) -> str:
    """What an error says, on one line and without passwords."""
    if missing := missing_package(error):
        return f"it needs {missing}, which is not installed"
    text = str(error).split(" with exception")[0] if len(str(error)) > length else str(error)
    return without_password(" ".join(text.split()))[:length] or type(error).__name__


def fix_of(error: Exception) -> str:
    """What the user can do about an error of the store."""
    status, reason = _http_status(error), str(error)
    if missing := missing_package(error):
        return f"run pip install {PACKAGES.get(missing, missing)}"
    if status in (401, 403, 407):
        return CREDENTIALS
    if status == 413:
        return PROXY_LIMIT
    if "out-of-date database schema" in reason:
        return f"copy the file, then `mlflow db upgrade {shown_uri()}`"
    if "readonly database" in reason or (isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES)):
        return "it is read-only here; change it where it can be written"
    if "unsupported URI" in reason:
        return "run pip install mlflow to open it; mlflow-skinny opens servers only"
    if database_path(tracking_uri()):
        return "check the file and the free space, and whether another program holds it"
    return "start the server, or unset MLFLOW_TRACKING_URI to use mlflow.db"


def missing_package(error: Exception) -> str | None:
    """The package that a store needs and that is not installed, e.g. boto3 for s3://."""
    names = (cause.name for cause in _causes(error) if isinstance(cause, ModuleNotFoundError) and cause.name)
    return next((name.split(".")[0] for name in names), None)


def shown_uri() -> str:
    """The tracking URI without its password."""
    return without_password(tracking_uri())


def without_password(text: str) -> str:
    return PASSWORD.sub(r"\1:***@", text)


def _http_status(error: Exception) -> int | None:
    """The status of the server's answer, as requests, botocore and MLflow keep it in their errors."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if response is not None:
            return response.status_code
        if found := re.search(r"failed with error code (\d{3}) != 200", str(cause)):
            return int(found[1])
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
