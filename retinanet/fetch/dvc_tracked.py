"""Data that another repository tracks with DVC."""

from pathlib import Path

from dvc.repo import Repo

from retinanet.errors import DownloadError, disk_full
from retinanet.fetch.archives import Limits, is_archive, unpack_archives


def fetch_tracked(repo: str, path: str, rev: str, target: Path, limits: Limits, root: Path) -> list[Path]:
    """Fetch what DVC tracks at a path of a git repository into `target`, and return the files' paths.

    repo: a URL, or a path, relative to `root`. A tracked folder is copied, a tar or zip is unpacked, any other file is
    copied. rev: a commit, tag or branch; empty for the current state. Raises DownloadError.
    """
    local = root / Path(repo).expanduser()
    address = str(local) if local.exists() else repo
    print(f"{path} of {address}: fetching with DVC, {rev or 'current state (download.dvc.rev is empty)'}", flush=True)
    fetched = target / ".fetched"
    try:
        Repo.get(address, path, out=str(fetched), rev=rev or None)
        if fetched.is_dir():
            for child in list(fetched.iterdir()):
                child.rename(target / child.name)
            fetched.rmdir()
        elif is_archive(fetched):
            unpack_archives([fetched], target, limits, sha256_verified=True)
            fetched.unlink()
        else:
            fetched.rename(target / Path(path).name)
    except DownloadError:
        raise
    except FileNotFoundError as error:
        raise DownloadError(
            f"{address}: neither git nor DVC tracks {path!r} in it; correct download.dvc.path"
        ) from error
    except Exception as error:  # each kind of storage raises errors of its own library
        if isinstance(error, OSError) and disk_full(error):
            raise DownloadError(f"{target}: the disk is full; free some space") from error
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise DownloadError(f"{path} of {address}: {error}{cause}; check download.dvc in params.yaml") from error
    return [file for file in target.rglob("*") if file.is_file()]
