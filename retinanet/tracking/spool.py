"""A run's entries that wait for the store: a file of them, and copies of the artifacts that they name."""

import json
import shutil
import uuid
from pathlib import Path

from retinanet.files import repo_root, write_text


def spooled_runs() -> list[tuple[str, list[dict]]]:
    """The ids of runs with waiting entries, and the entries."""
    paths = sorted((repo_root() / ".cache" / "tracking").glob("*.jsonl"))
    return [(path.stem, Spool(path.stem).read()) for path in paths]


class Spool:
    """The waiting entries of a run. What happens to an artifact later does not change its waiting copy."""

    def __init__(self, run_id: str):
        self._folder = (repo_root() / ".cache" / "tracking").absolute()
        self.path = self._folder / f"{run_id}.jsonl"
        self._copies = self._folder / f"{run_id}.artifacts"

    def read(self) -> list[dict]:
        """The waiting entries, oldest first."""
        if not self.path.exists():
            return []
        entries = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [entry | {"path": str(self._folder / entry["path"])} if "path" in entry else entry for entry in entries]

    def write(self, entries: list[dict]) -> None:
        """Replace the waiting entries; those of artifacts are changed to name the copies."""
        rows = []
        for entry in entries:
            row = entry
            if "path" in entry:
                entry["path"] = self._copy(Path(entry["path"]))
                # Relative, because the repository may be moved.
                row = entry | {"path": str(Path(entry["path"]).relative_to(self._folder))}
            rows.append(json.dumps(row) + "\n")
        write_text(self.path, "".join(rows))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        shutil.rmtree(self._copies, ignore_errors=True)

    def _copy(self, path: Path) -> str:
        if path.is_relative_to(self._copies):
            return str(path)
        copy = self._copies / uuid.uuid4().hex / path.name
        if path.exists():
            copy.parent.mkdir(parents=True)
            shutil.copyfile(path, copy)
        return str(copy)
