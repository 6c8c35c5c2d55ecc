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


def _decoding() -> "DecodeSettings":
    """The workspace's decoding settings, so that a .safetensors file gives the detections of its exported model."""
    from retinanet.inference.detections import STANDARD_DECODING, DecodeSettings

    if not in_workspace():
        return STANDARD_DECODING
    from retinanet.config.params import load_params

    return DecodeSettings(**load_params(workspace_paths().PARAMS).evaluate.decoding())
