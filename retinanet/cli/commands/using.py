"""Commands that use a model."""

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from retinanet.cli.workspace import in_workspace, workspace_paths
from retinanet.errors import first_of

if TYPE_CHECKING:
    from retinanet.inference.detections import DecodeSettings


def predict(arguments: Namespace) -> int:
    from retinanet.cli.inputs import find_images, model_path, relative_names
    from retinanet.cli.predict import predict_images
    from retinanet.cli.result_files import ResultFiles, new_out_folder
    from retinanet.cli.suppression import suppress_across_classes
    from retinanet.cli.written_formats import check_names
    from retinanet.export.runtimes import load_detector
    from retinanet.inference.detections import STANDARD_DECODING, Detections

    out = new_out_folder(arguments.out)
    images = find_images(arguments.images)
    check_names(relative_names(images).values(), arguments.format)
    with model_path(arguments.model) as path:
        print(f"model: {arguments.model or path}", flush=True)
        # An exported model has its decoding settings inside.
        settings = _decoding() if path.suffix == ".safetensors" else STANDARD_DECODING
        detector = load_detector(path, settings)
        scores = detector.thresholds if arguments.score is None else arguments.score

        def select(detections: Detections) -> Detections:
            above = detections.above(scores)
            return above if arguments.agnostic_nms is None else suppress_across_classes(above, arguments.agnostic_nms)

        if arguments.score is None:
            named = [f"{name} {score:g}" for name, score in zip(detector.class_names, detector.thresholds, strict=True)]
            print(f"minimum scores: {first_of(named)}", flush=True)
        results = ResultFiles(out, detector, arguments.format, draw=arguments.draw)
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


def count(arguments: Namespace) -> int:
    from retinanet.cli.counting import count_detections, draw_images, read_counted, totals_text
    from retinanet.cli.inputs import find_images, model_path, relative_names
    from retinanet.export.runtimes import load_detector
    from retinanet.inference.detections import STANDARD_DECODING

    images = find_images(arguments.images)
    names = relative_names(images)
    with model_path(arguments.model) as path:
        detector = load_detector(path, _decoding() if path.suffix == ".safetensors" else STANDARD_DECODING)
        if arguments.draw:
            drawn = draw_images(arguments.counted, list(names.values()), detector.class_names, arguments.draw)
            print(
                f"{drawn} images, drawn at random, added to {arguments.counted}; write the number of objects of each "
                "class beside each image, then run this command without --draw"
            )
            return 0
        counted = read_counted(arguments.counted, list(names.values()), detector.class_names)
        print(f"model: {arguments.model or path}", flush=True)
        scores = detector.thresholds if arguments.score is None else arguments.score
        detected, failed = count_detections(detector, images, scores)
    by_name = {names[image]: counts for image, counts in detected.items()}
    print(totals_text(by_name, {k: v for k, v in counted.items() if k in by_name}, detector.class_names))
    if failed:
        print(f"error: {len(failed)} can't be read and are not in the totals: {first_of(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _decoding() -> "DecodeSettings":
    """The workspace's decoding settings, so that a .safetensors file gives the detections of its exported model."""
    from retinanet.inference.detections import STANDARD_DECODING, DecodeSettings

    if not in_workspace():
        return STANDARD_DECODING
    from retinanet.config.params import load_params

    return DecodeSettings(**load_params(workspace_paths().PARAMS).evaluate.decoding())
