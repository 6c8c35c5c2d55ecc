"""Write the model as ONNX, hold it against PyTorch on test pictures, and register it: models/export/model.onnx."""

import json
from pathlib import Path

import numpy as np

from retinanet.config.params import load_params
from retinanet.dataset.coco import read_coco
from retinanet.errors import exit_on_error
from retinanet.export.gate import compare, require_agreement
from retinanet.export.onnx_model import export_onnx
from retinanet.files import new_folder, sha256_of, write_json
from retinanet.images.reading import read_picture
from retinanet.inference.detector import DecodeSettings, load_detector, torch_detector
from retinanet.model.weights import load_model
from retinanet.tracking.registry import register
from retinanet.tracking.runs import resume_run

MODEL, RUN = Path("models/model.safetensors"), Path("models/run.json")
TEST, EVALUATION = Path("data/prepared/test.json"), Path("reports/evaluate")
EXPORT, REPORT, REGISTERED = Path("models/export"), Path("reports/export.json"), Path("models/registered.json")


@exit_on_error
def main() -> None:
    params = load_params()
    print(f"export: {MODEL} to ONNX, compared on {params.export.check_pictures} test pictures", flush=True)
    model, class_names, category_ids, tiling = load_model(MODEL)
    decoding = DecodeSettings(**params.evaluate.model_dump(exclude={"pictures"}))
    test_set = read_coco(TEST)
    count = min(params.export.check_pictures, len(test_set.pictures))
    rows = np.linspace(0, len(test_set.pictures) - 1, count).round().astype(int)
    pictures = [read_picture(Path(test_set.pictures[row].file_name)) for row in rows]
    with new_folder(EXPORT) as folder:
        path = folder / "model.onnx"
        export_onnx(model, path, decoding, class_names, category_ids, tiling)
        trained = torch_detector(model, class_names, category_ids, decoding, tiling=tiling)
        agreement = compare(trained, load_detector(path), pictures, params.export.score_tolerance)
        gate = params.export
        require_agreement(agreement, gate.min_matched, gate.min_iou, gate.score_tolerance)
    path = EXPORT / "model.onnx"
    size = sum(file.stat().st_size for file in EXPORT.iterdir())
    figures = {"pictures": count, **agreement._asdict(), "megabytes": round(size / 1e6, 1)}
    write_json(REPORT, figures)
    metrics, digest = (json.loads((EVALUATION / name).read_text()) for name in ("metrics.json", "evaluation.json"))
    with resume_run(RUN) as run:
        run.log_artifact(REPORT, "export")
        version = register(
            params.tracking.model_name,
            run_id=run.id,
            onnx_path=path,
            model_sha256=sha256_of(MODEL),
            metrics=metrics,
            evaluation_digest=digest["digest"],
            class_names=class_names,
        )
    write_json(REGISTERED, {"name": params.tracking.model_name, "version": version})
    print(
        f"export: {path} made ({figures['megabytes']} MB), the same {agreement.detections} detections as PyTorch; "
        f"registered as {params.tracking.model_name} version {version}"
    )


if __name__ == "__main__":
    main()
