"""An S3 server on 127.0.0.1 (moto) that forgets everything when it ends."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.mlflow_server import free_port, wait_for

BUCKET = "team"


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server with an empty bucket; yields the environment variables that its clients need."""
    import boto3

    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    with open(folder / "s3.log", "w") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(f"{endpoint}/moto-api/", process)
        names = {"AWS_ACCESS_KEY_ID": "team", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        client = boto3.client("s3", "us-east-1", endpoint_url=endpoint, **_credentials(names))
        client.create_bucket(Bucket=BUCKET)
        yield names | {"AWS_ENDPOINT_URL": endpoint}
    finally:
        process.kill()
        process.wait()


def stored_keys(environment: dict[str, str], prefix: str) -> list[str]:
    """The keys of the bucket's objects that begin with a prefix."""
    import boto3

    client = boto3.client("s3", "us-east-1", endpoint_url=environment["AWS_ENDPOINT_URL"], **_credentials(environment))
    return [row["Key"] for row in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]


def _credentials(environment: dict[str, str]) -> dict[str, str]:
    return {name.lower(): environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
