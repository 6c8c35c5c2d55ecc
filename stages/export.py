"""Export the model, compare it with PyTorch on test images, and register it: models/export."""

from pathlib import Path

from retinanet.config.params import load_params
from retinanet.dataset.coco import read_coco
from retinanet.errors import exit_on_error
from retinanet.export.gate import compare, require_agreement
from retinanet.export.runtimes import RUNTIMES
from retinanet.files import new_folder, write_json
from retinanet.images.reading import read_image
from retinanet.images.sampling import evenly_spaced
from retinanet.inference.detections import DecodeSettings
from retinanet.inference.network import torch_detector
from retinanet.model.weights import load_model
from retinanet.tracking.publication import log_export, register_exported
from retinanet.tracking.runs import resume_run
from retinanet.tracking.version_record import write_record
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
        read_image(Path(info.file_name), info.max_pixels) for info in evenly_spaced(test_set.images, gate.check_images)
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
    with new_folder(paths.VERSION_RECORD) as folder:
        write_record(folder, trained.class_names, paths)
    with resume_run(paths.RUN) as run:
        log_export(run, paths)
        version = register_exported(params.tracking.model_name, run.id, paths)
    write_json(paths.REGISTERED, {"name": params.tracking.model_name, "version": version})
    print(
        f"export: {paths.EXPORT / runtime.file_name} ({report['megabytes']} MB) gives the same {agreement.detections} "
        f"detections as PyTorch; registered as {params.tracking.model_name} version {version}"
    )


if __name__ == "__main__":
    main()
