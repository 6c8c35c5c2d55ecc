"""Export the model, compare it with PyTorch on test images, and register it: models/export."""

import json
from pathlib import Path

from retinanet.config.params import load_params
from retinanet.dataset.coco import read_coco
from retinanet.errors import exit_on_error
from retinanet.export.gate import compare, require_agreement
from retinanet.export.runtimes import RUNTIMES
from retinanet.files import new_folder, write_json, write_text
from retinanet.images.reading import read_image
from retinanet.images.sampling import evenly_spaced
from retinanet.inference.detections import DecodeSettings
from retinanet.inference.network import torch_detector
from retinanet.model.weights import load_model
from retinanet.tracking.model_card import model_card
from retinanet.tracking.registry import register
from retinanet.tracking.runs import resume_run
from stages import paths

RUNTIME = "onnx"  # what is registered and served


@exit_on_error
def main() -> None:
    params = load_params(paths.PARAMS)
    gate, runtime = params.export, RUNTIMES[RUNTIME]
    print(f"export: {paths.MODEL} to {RUNTIME}, compared on {gate.check_images} test images", flush=True)
    trained = load_model(paths.MODEL)
    decoding = DecodeSettings(**params.evaluate.decoding())
    test_set = read_coco(paths.TEST_JSON)
    images = [
        read_image(Path(info.file_name), test_set.reading) for info in evenly_spaced(test_set.images, gate.check_images)
    ]
    with new_folder(paths.EXPORT) as folder:
        path = folder / runtime.file_name
        runtime.write(path, trained, decoding)
        agreement = compare(
            torch_detector(trained, decoding), runtime.open_detector(path), images, gate.score_tolerance
        )
        require_agreement(agreement, gate.min_matched, gate.min_iou, gate.score_tolerance)
    size = sum(file.stat().st_size for file in paths.EXPORT.iterdir())
    report = {"images": len(images), **agreement._asdict(), "megabytes": round(size / 1e6, 1)}
    write_json(paths.EXPORT_REPORT, report)
    metrics, evaluation, run_facts = (
        json.loads(path.read_text()) for path in (paths.METRICS, paths.EVALUATION_DIGEST, paths.RUN)
    )
    card = model_card(params, trained.class_names, paths.EVALUATION, paths.SPLITS)
    write_text(paths.MODEL_CARD, card)
    with resume_run(paths.RUN) as run:
        run.log_artifact(paths.EXPORT_REPORT, "export")
        run.log_artifact(paths.MODEL_CARD)
        version = register(
            params.tracking.model_name,
            run_id=run.id,
            exported=paths.EXPORT,
            model_sha256=run_facts["model_sha256"],
            metrics=metrics,
            evaluation_digest=evaluation["digest"],
            class_names=trained.class_names,
            card=card,
        )
    write_json(paths.REGISTERED, {"name": params.tracking.model_name, "version": version})
    print(
        f"export: {paths.EXPORT / runtime.file_name} ({report['megabytes']} MB) gives the same {agreement.detections} "
        f"detections as PyTorch; registered as {params.tracking.model_name} version {version}"
    )


if __name__ == "__main__":
    main()
