"""A user's repository as the download stage finds it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import yaml
from packed import files_in, zip_bytes

ROOT = Path(__file__).parents[1]
WHEEL = zip_bytes({"pack/weights.pth": b"weights", "pack/a.png": b"picture", "pack/a.xml": b"<annotation/>"})
EARLIER = {"raw/earlier.jpg": b"earlier picture", "weights/earlier.pth": b"earlier weights"}
WEIGHTS = {"weights/weights.pth": b"weights"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Repository:
    """A folder with its own params.yaml, the output of an earlier run, and the weights' wheel in the cache."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        wheel = {"name": "pack", "version": "1", "sha256": sha256(WHEEL)}
        self.change("weights", backbone="b", member="*.pth", **wheel)
        self.change("package", members=["pack/a.*"], **wheel)
        self.write(f".cache/downloads/{sha256(WHEEL)}/pack-1-py3-none-any.whl", WHEEL)
        for name, content in EARLIER.items():
            self.write(f"data/{name}", content)

    def change(self, section: str, **values: object) -> None:
        self.params["download"][section] |= values
        self.write_params()

    def take(self, source: str, **values: object) -> None:
        """Make it the source, with these settings in its section or, for a set without one, beside it."""
        own = self.params["download"].get(source)
        (self.params["download"] if own is None else own).update(values)
        self.params["download"]["source"] = source
        self.write_params()

    def write_params(self) -> None:
        self.write("params.yaml", yaml.safe_dump(self.params).encode())

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def data(self) -> dict[str, bytes]:
        return files_in(self.folder / "data")

    def cached(self) -> set[str]:
        """Names of the files that downloads left, other than the wheel and the lock."""
        names = {Path(name).name for name in files_in(self.folder / ".cache")}
        return names - {"pack-1-py3-none-any.whl", ".lock"}

    def start(self, *command: str) -> subprocess.Popen:
        """The stage in a process of its own."""
        command = command or ("-m", "stages.download")
        env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, *command], cwd=self.folder, env=env, **pipes)
