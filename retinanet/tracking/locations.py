"""Where the store and its artifacts are: found relative to the repository, also after it was moved or copied."""

import os
import re
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from retinanet.files import repo_root

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
SQLITE_URI = re.compile(r"(?P<scheme>sqlite(?:\+\w+)?:///)(?P<path>[^?]*)(?P<query>(?:\?.*)?)")
LOCK_TIMEOUT_S = 2.0
# The columns of MLflow's tables that hold absolute locations of artifacts.
LOCATION_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or else mlflow.db at the repository's root, also from DVC's temporary copies."""
    return _from_root(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DATABASE}")


def registry_uri() -> str:
    """MLFLOW_REGISTRY_URI, or else the tracking URI."""
    return _from_root(os.environ.get("MLFLOW_REGISTRY_URI") or tracking_uri())


def database_path(uri: str) -> Path | None:
    """The file of a SQLite URI, or None for a server, another database, or one in memory."""
    match = SQLITE_URI.fullmatch(uri)
    return Path(match["path"]) if match and match["path"] not in ("", ":memory:") else None


def artifacts_folder(database: Path) -> Path:
    """The folder of the artifacts of runs in a SQLite store."""
    return database.resolve().parent / ARTIFACTS


def present_location(location: str) -> str:
    """Where artifacts are now that a store recorded at this location; only those of a SQLite store can have moved."""
    database = database_path(tracking_uri())
    return _moved(location, artifacts_folder(database)) if database else location


def update_locations(database: Path) -> None:
    """Change recorded locations in another folder, where the repository was before, to the artifacts beside the store.

    Without effect on a store that cannot be written. Raises OSError if the store stays locked.
    """
    folder = artifacts_folder(database)
    connection = sqlite3.connect(database, timeout=LOCK_TIMEOUT_S)
    try:
        with connection:
            for table, column in LOCATION_COLUMNS:
                recorded = connection.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} LIKE 'file:%'")
                changed = [(new, old) for (old,) in recorded.fetchall() if (new := _moved(old, folder)) != old]
                connection.executemany(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", changed)
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise OSError(f"{database}: {error}") from error
    finally:
        connection.close()


def _from_root(uri: str) -> str:
    """A SQLite URI with an absolute path: MLflow takes a relative one from the folder that DVC runs a stage in."""
    path, match = database_path(uri), SQLITE_URI.fullmatch(uri)
    if path is None or match is None:
        return uri
    return f"{match['scheme']}{repo_root().resolve() / path}{match['query']}"


def _moved(location: str, folder: Path) -> str:
    """The location in `folder`, unless the artifacts are still where they were and not in `folder`."""
    before, _, below = f"{location}/".rpartition(f"/{ARTIFACTS}/")
    moved = f"{folder.as_uri()}/{below}".rstrip("/")
    if not before.startswith("file:") or moved == location:
        return location
    # New runs of an experiment never belong into another repository.
    is_elsewhere = below and _path(location).exists() and not _path(moved).exists()
    return location if is_elsewhere else moved


def _path(location: str) -> Path:
    return Path(url2pathname(urlsplit(location).path))
