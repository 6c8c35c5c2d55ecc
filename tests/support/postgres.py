"""A PostgreSQL server on 127.0.0.1, of Debian's package."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.mlflow_server import free_port

USER = "mlflow"


def postgres_programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs, or None."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = shutil.which("postgres")
    return folders[-1] if folders else Path(found).parent if found else None


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server with an empty database; yields its URI for SQLAlchemy."""
    programs, port = postgres_programs(), free_port()
    assert programs
    with tempfile.TemporaryDirectory(prefix="postgres") as folder:
        user: int | None = None
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
            user = account.pw_uid
        data = f"{folder}/data"
        with open(f"{folder}/log", "w") as log:
            initialize = [str(programs / "initdb"), "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
            subprocess.run([*initialize, "--locale=C"], check=True, cwd="/", stdout=log, stderr=log, user=user)
            serve = [str(programs / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"]
            process = subprocess.Popen(serve, cwd="/", stdout=log, stderr=log, user=user)
        try:
            _wait_for(port, process)
            yield f"postgresql+psycopg2://{USER}@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("PostgreSQL did not start")
