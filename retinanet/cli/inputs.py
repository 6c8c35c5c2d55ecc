"""What `retinanet predict` reads: the images, decoded ahead of their use, and the model."""

import json
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from retinanet.annotations.files import SYSTEM_FOLDERS, SourceFiles
from retinanet.cli.workspace import in_workspace, trusted_keys, workspace_paths
from retinanet.errors import ImageError, WeightsError, first_of
from retinanet.export.runtimes import exported_runtime
from retinanet.images.reading import IMAGE_SUFFIXES, Decoded, Reading, decode_image

# Beside each other, they mark a folder that `retinanet predict` wrote.
RESULT_FILES = ("detections.json", "images.json")
READERS = min(4, os.cpu_count() or 1)
# Decoded images that wait for the network: few, since one may take 300 MB.
MAX_WAITING = READERS + 1


def find_images(names: Sequence[str]) -> list[Path]:
    """The named files, and the image files in the named folders, without hidden ones; each once.

    Folders and links that are called like an image, but hold none, are listed too: reading them is an error, like that
    of a damaged file. Other files of a folder are named on stdout. Raises ImageError for a folder without images.
    """
    paths: dict[str, Path] = {}
    for path in map(Path, names):
        found = _images_in(path) if path.is_dir() else [path]
        for image in found:
            paths.setdefault(os.path.abspath(image), image)
    return list(paths.values())


def relative_names(images: Sequence[Path]) -> dict[Path, str]:
    """The paths of images relative to their common folder, with forward slashes."""
    absolute = {path: Path(os.path.abspath(path)) for path in images}
    common = Path(os.path.commonpath([path.parent for path in absolute.values()])) if absolute else Path()
    return {path: full.relative_to(common).as_posix() for path, full in absolute.items()}


def read_ahead(images: Sequence[Path], reading: Reading) -> Generator[tuple[Path, Decoded | ImageError]]:
    """Each image, or why it cannot be read, in order; the next ones are decoded in the meantime. Close it after use."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
        paths = iter(images)
        waiting: deque[tuple[Path, Future[Decoded]]] = deque()
        try:
            while True:
                for path in islice(paths, MAX_WAITING - len(waiting)):
                    waiting.append((path, pool.submit(decode_image, path, reading)))
                if not waiting:
                    return
                path, decoded = waiting.popleft()
                try:
                    content: Decoded | ImageError = decoded.result()
                except ImageError as error:
                    content = error
                yield path, content
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def model_path(name: str | None) -> Iterator[Path]:
    """The file of a model: a path, models:/NAME@ALIAS or models:/NAME/VERSION, or None for this workspace's model.

    Raises WeightsError or TrackingError if there is none.
    """
    if name is None:
        yield _workspace_model()
    elif name.startswith("models:/"):
        with _registered(name) as path:
            yield path
    else:
        yield Path(name)


def _images_in(folder: Path) -> list[Path]:
    files = SourceFiles(folder)
    results = {of for of in files.folders if of != folder and all((of / name).is_file() for name in RESULT_FILES)}
    images = [path for path in files.images() if results.isdisjoint(path.parents)]
    misnamed = [
        path
        for parent, subfolders, _ in os.walk(folder)
        for path in (Path(parent, name) for name in _visible(subfolders))
        if path.suffix.lower() in IMAGE_SUFFIXES and (path.is_symlink() or path not in files.folders)
    ]
    if not images and not misnamed:
        raise ImageError(f"{folder}: no images in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
    for written in sorted(results):
        print(f"{written}: not read, it has the results of an earlier run", flush=True)
    unread = [path for path in files.paths if results.isdisjoint(path.parents)]
    if others := [str(path) for path in unread if path.suffix.lower() not in IMAGE_SUFFIXES]:
        print(f"{folder}: not read, {len(others)} other files: {first_of(others, 3)}", flush=True)
    return sorted([*images, *misnamed])


def _visible(subfolders: list[str]) -> list[str]:
    """The names without hidden ones, which are removed from the list of os.walk as well."""
    subfolders[:] = [name for name in subfolders if not name.startswith(".") and name not in SYSTEM_FOLDERS]
    return subfolders


def _workspace_model() -> Path:
    if not in_workspace():
        raise WeightsError(f"{Path.cwd()}: not a pipeline repository, so there is no default model; use --model")
    paths = workspace_paths()
    try:
        # The exported model is the one that is served, and it opens without torch.
        return paths.EXPORT / exported_runtime(paths.EXPORT, _served_runtime(paths.REGISTERED)).file_name
    except WeightsError:
        if paths.MODEL.exists():
            return paths.MODEL
        raise


def _served_runtime(registered: Path) -> str:
    """The runtime that the export stage registered, ONNX if it has registered none."""
    try:
        return str(json.loads(registered.read_text(encoding="utf-8"))["runtime"])
    except (OSError, KeyError, ValueError):
        return "onnx"


@contextmanager
def _registered(uri: str) -> Iterator[Path]:
    from retinanet.tracking.registered_weights import named_version
    from retinanet.tracking.registry import model_files
    from retinanet.tracking.signing import require_signed
    from retinanet.tracking.store import open_client

    client = open_client()
    version = named_version(client, uri)
    print(f"{uri} is version {version.version}", flush=True)
    require_signed(client, version, trusted_keys())
    with model_files(client, version) as folder:
        exported = folder / "artifacts" / "exported"
        yield exported / exported_runtime(exported).file_name
