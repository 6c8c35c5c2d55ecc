"""A repository for the download stage to run in."""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import yaml

from retinanet.fetch.downloads import CHUNK_BYTES
from support.packed import files_in, tree, zip_bytes
from support.served import Served

ROOT = Path(__file__).parents[2]
WHEEL = zip_bytes({"pack/weights.pth": b"weights", "pack/a.png": b"image", "pack/a.xml": b"<annotation/>"})
EARLIER = {"raw/earlier.jpg": b"earlier image", "weights/earlier.pth": b"earlier weights"}
WEIGHTS = {"weights/weights.pth": b"weights"}
ZIP = zip_bytes()
BIG = zip_bytes({f"{number}.jpg": bytes([number]) * CHUNK_BYTES for number in range(8)}, zipfile.ZIP_STORED)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


Run = Callable[[], tuple[int, str]]  # runs the stage; exit code and stderr


class Repository:
    """A folder with params.yaml, the output of an earlier run, and the wheel of the weights in the cache."""

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

    def set_source(self, source: str, **values: object) -> None:
        """Choose a source; the values go into its section or, if it has none, into section download."""
        section = self.params["download"].get(source)
        (self.params["download"] if section is None else section).update(values)
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
        """Names of the files in the download cache except the wheel and the lock."""
        names = {Path(name).name for name in files_in(self.folder / ".cache")}
        return names - {"pack-1-py3-none-any.whl", ".lock"}

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start the stage in a process of its own."""
        command = command or ("-m", "stages.download")
        env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def succeeds(repository: Repository, run: Run, raw: dict[str, bytes]) -> None:
    assert run() == (0, "")
    assert repository.data() == {f"raw/{name}": content for name, content in raw.items()} | WEIGHTS
    assert {path.name for path in (repository.folder / "data").iterdir()} == {"raw", "weights"}


def fails(repository: Repository, run: Run, *fragments: str) -> None:
    """Exit code 1 and one line with all fragments; the earlier output and the folders around are unchanged."""
    before, around = repository.data(), set(repository.folder.parent.iterdir())
    code, err = run()
    assert code == 1
    assert err.startswith("error: ") and err.count("\n") == 1
    for fragment in fragments:
        assert fragment in err
    assert repository.data() == before
    assert tree(repository.folder / "data").keys() == {"raw", "weights", *EARLIER}
    assert set(repository.folder.parent.iterdir()) == around


def from_server(repository: Repository, server: Served, name: str = "set.zip", pinned: str | None = None) -> None:
    digest = sha256(server.files[name]) if pinned is None else pinned
    repository.set_source("archive", url=server.url(name), sha256=digest)


def from_file(repository: Repository, content: bytes) -> None:
    repository.write("elsewhere/set.archive", content)
    repository.set_source("archive", url="elsewhere/set.archive")
