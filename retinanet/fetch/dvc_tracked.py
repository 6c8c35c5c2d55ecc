"""Data that another repository tracks with DVC."""

from pathlib import Path

from dvc.repo import Repo

from retinanet.errors import DownloadError, disk_full
from retinanet.fetch.archives import Limits, is_archive, unpack_archives
from retinanet.files import repo_root


def fetch_tracked(repo: str, path: str, rev: str, target: Path, limits: Limits) -> list[Path]:
    """Bring what DVC tracks at a path of a git repository under `target`, and return the files' paths.

    repo: a URL, or a path, which starts at the repository when relative. A tracked folder gives its files, a tar or
    zip what is in it, any other file itself. rev: a commit, tag or branch; empty for the repository as it is now.
    Raises DownloadError.
    """
    here = repo_root() / Path(repo).expanduser()
    place = str(here) if here.exists() else repo
    print(f"{path} of {place}: fetching with DVC, {rev or 'as it is now (download.dvc.rev is empty)'}", flush=True)
    fetched = target / ".fetched"
    try:
        Repo.get(place, path, out=str(fetched), rev=rev or None)
        if fetched.is_dir():
            for child in list(fetched.iterdir()):
                child.rename(target / child.name)
            fetched.rmdir()
        elif is_archive(fetched):
            unpack_archives([fetched], target, limits, checked=True)
            fetched.unlink()
        else:
            fetched.rename(target / Path(path).name)
    except DownloadError:
        raise
    except FileNotFoundError as error:
        raise DownloadError(f"{place}: neither git nor DVC tracks {path!r} in it; see download.dvc.path") from error
    except Exception as error:  # each kind of storage raises errors of its own library
        if isinstance(error, OSError) and disk_full(error):
            raise DownloadError(f"{target}: the disk is full; make room") from error
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise DownloadError(f"{path} of {place}: {error}{cause}; see download.dvc in params.yaml") from error
    return [file for file in target.rglob("*") if file.is_file()]
