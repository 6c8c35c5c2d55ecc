"""Commands that use a model."""

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from retinanet.cli.workspace import in_workspace, workspace_paths
from retinanet.errors import RetinanetError, WeightsError, first_of

if TYPE_CHECKING:
    from retinanet.inference.detections import DecodeSettings, Detections
    from retinanet.inference.detector import Detector

REGISTERED = "models:/"


def predict(arguments: Namespace) -> int:
    from retinanet.cli.inputs import find_images, model_path, relative_names
    from retinanet.cli.predict import predict_images
    from retinanet.cli.result_files import ResultFiles, new_out_folder
    from retinanet.cli.video import videos_in
    from retinanet.cli.written_formats import check_names

    if videos := videos_in(arguments.images):
        return _predict_videos(arguments, videos)
    if arguments.every or arguments.fps:
        raise RetinanetError("--every and --fps are for videos; the arguments are images or folders of images")
    out = new_out_folder(arguments.out)
    images = find_images(arguments.images)
    check_names(relative_names(images).values(), arguments.format)
    with model_path(arguments.model) as path:
        detector, select = _open(path, arguments)
        results = ResultFiles(out, detector, arguments.format, draw=arguments.draw is not False)
        try:
            predict_images(detector, images, results, select)
        except (KeyboardInterrupt, BrokenPipeError) as stop:
            reason = "stdout was closed: " if isinstance(stop, BrokenPipeError) else ""
            done = f"{results.done} of {len(images)} images processed"
            print(f"{reason}{done}, their results are complete: {out}", file=sys.stderr)
            raise
    if results.failed:
        failed, listed = first_of(results.failed), out / "images.json"
        print(f"error: {len(results.failed)} can't be read (`failed` in {listed}): {failed}", file=sys.stderr)
    print(f"{results.done} of {len(images)} images processed: {out / 'detections.json'}")
    return 1 if results.failed else 0


def _predict_videos(arguments: Namespace, videos: list[Path]) -> int:
    from retinanet.cli.inputs import model_path
    from retinanet.cli.predict import predict_videos
    from retinanet.cli.result_files import new_out_folder
    from retinanet.cli.video import Sampling, VideoFiles

    if arguments.format:
        raise RetinanetError("--format is for images; the detections in videos are written as JSON lines")
    out = new_out_folder(arguments.out)
    with model_path(arguments.model) as path:
        detector, select = _open(path, arguments)
        sampling = Sampling(arguments.every or 1, arguments.fps)
        files = VideoFiles(out, detector, draw=bool(arguments.draw))
        failed = predict_videos(detector, videos, files, select, sampling)
    done = f"{len(videos) - len(failed)} of {len(videos)} videos processed"
    print(f"{done}: {out / 'detections.jsonl'}")
    return 1 if failed else 0


def _open(path: Path, arguments: Namespace) -> tuple["Detector", Callable[["Detections"], "Detections"]]:
    """The detector of a model file, and the function that selects the detections to write."""
    from retinanet.cli.suppression import suppress_across_classes
    from retinanet.export.runtimes import load_detector

    print(f"model: {arguments.model or path}", flush=True)
    detector = load_detector(path, _decoding(path))
    scores = _minimum_scores(detector, arguments.score)

    def select(detections: "Detections") -> "Detections":
        above = detections.above(scores)
        return above if arguments.agnostic_nms is None else suppress_across_classes(above, arguments.agnostic_nms)

    return detector, select


def count(arguments: Namespace) -> int:
    from retinanet.cli.counting import count_detections, draw_images, read_counted, require_enough, totals_text
    from retinanet.cli.inputs import find_images, model_path, relative_names
    from retinanet.export.runtimes import load_detector

    images = find_images(arguments.images)
    names = relative_names(images)
    with model_path(arguments.model) as path:
        detector = load_detector(path, _decoding(path))
        if arguments.draw:
            drawn = draw_images(arguments.counted, list(names.values()), detector.class_names, arguments.draw)
            print(
                f"{drawn} images, drawn at random, added to {arguments.counted}; write the number of objects of each "
                "class beside each image, then run this command without --draw"
            )
            return 0
        counted = read_counted(arguments.counted, list(names.values()), detector.class_names)
        require_enough(arguments.counted, counted)
        print(f"model: {arguments.model or path}", flush=True)
        detected, failed = count_detections(detector, images, _minimum_scores(detector, arguments.score))
    by_name = {names[image]: counts for image, counts in detected.items()}
    readable = {name: numbers for name, numbers in counted.items() if name in by_name}
    require_enough(arguments.counted, readable)
    print(totals_text(by_name, readable, detector.class_names))
    if failed:
        print(f"error: {len(failed)} can't be read and are not in the totals: {first_of(failed)}", file=sys.stderr)
    return 1 if failed else 0


def explain(arguments: Namespace) -> int:
    from retinanet.cli.explaining import write_explanations
    from retinanet.cli.inputs import find_images
    from retinanet.cli.result_files import new_out_folder

    if arguments.model is None and not in_workspace():
        raise WeightsError(f"{Path.cwd()}: not a pipeline repository, so there is no default model; use --model")
    path = Path(arguments.model) if arguments.model else workspace_paths().MODEL
    out = new_out_folder(arguments.out)
    images = find_images(arguments.images)
    print(f"model: {path}", flush=True)
    failed = write_explanations(path, images, out, _decoding(path), arguments.score, arguments.count, arguments.method)
    print(f"{len(images) - len(failed)} of {len(images)} images explained: {out / 'index.html'}")
    if failed:
        print(f"error: {len(failed)} can't be read: {first_of(failed)}", file=sys.stderr)
    return 1 if failed else 0


def map(arguments: Namespace) -> int:
    from retinanet.cli.inputs import model_path
    from retinanet.cli.mapping import map_raster, model_digest
    from retinanet.export.runtimes import load_detector
    from retinanet.rasters.features import check_new
    from retinanet.rasters.reading import open_raster
    from retinanet.rasters.run import grid_for

    check_new(arguments.out)
    memory = arguments.memory * 1_000_000
    model = _numbered_version(arguments.model)
    with (
        open_raster(arguments.raster, arguments.bands, arguments.range, memory) as raster,
        model_path(model) as path,
    ):
        detector = load_detector(path, _decoding(path))
        grid = grid_for(raster, detector, arguments.tile, arguments.overlap, arguments.window)
        digest = model_digest(path)
        name = model if model and model.startswith(REGISTERED) else f"{path.name} sha256:{digest[:12]}"
        place = raster.crs or "no coordinate system, so that coordinates are pixels, y downwards"
        print(f"model: {name}\nraster: {raster.width} x {raster.height} px, {place}")
        print(f"tiles: {len(grid.tops)} rows of {len(grid.lefts)}, {grid.tile} px, every {grid.step} px", flush=True)
        scores = _minimum_scores(detector, arguments.score)
        counts = map_raster(detector, (name, digest), raster, grid, scores, arguments.out)
        system = ", WGS 84" if arguments.out.suffix.lower() == ".geojson" and raster.crs else ""
    found = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no detections"
    print(f"{found}: {arguments.out}{system}")
    return 0


def _numbered_version(name: str | None) -> str | None:
    """models:/NAME/VERSION for an alias of a registered model, so that what is written names the version."""
    if name is None or not name.startswith(REGISTERED):
        return name
    from retinanet.tracking.registered_weights import named_version
    from retinanet.tracking.store import open_client

    version = named_version(open_client(), name)
    return f"{REGISTERED}{version.name}/{version.version}"


def _minimum_scores(detector: "Detector", score: float | None) -> float | tuple[float, ...]:
    """--score or, if it is not given, the model's thresholds, which are printed."""
    from retinanet.inference.detections import thresholds_text

    if score is not None:
        return score
    print(f"minimum scores: {thresholds_text(detector.class_names, detector.thresholds)}", flush=True)
    return detector.thresholds


def _decoding(path: Path) -> "DecodeSettings":
    """The settings to open a model file with: the workspace's, so that weights give the detections of their export.

    An exported model has its own inside, and ignores them.
    """
    from retinanet.inference.detections import STANDARD_DECODING, DecodeSettings

    if path.suffix != ".safetensors" or not in_workspace():
        return STANDARD_DECODING
    from retinanet.config.params import load_params

    return DecodeSettings(**load_params(workspace_paths().PARAMS).evaluate.decoding())
