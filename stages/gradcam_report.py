"""Show what the model looked at on some test pictures: reports/gradcam/index.html."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from retinanet.config.params import load_params
from retinanet.dataset.coco import CocoDataset, Picture, read_coco
from retinanet.errors import exit_on_error
from retinanet.explain.examples import explain_picture
from retinanet.explain.panels import strip
from retinanet.explain.report import report_html
from retinanet.files import new_folder, write_text
from retinanet.images.reading import read_picture
from retinanet.inference.detector import DecodeSettings
from retinanet.model.weights import load_model
from retinanet.tracking.runs import resume_run

MODEL, RUN = Path("models/model.safetensors"), Path("models/run.json")
TEST = Path("data/prepared/test.json")
METRICS = Path("reports/evaluate/metrics.json")
REPORT = Path("reports/gradcam")


@exit_on_error
def main() -> None:
    params = load_params()
    print(
        f"gradcam-report: heat maps of what the model looked at on {params.gradcam.pictures} test pictures", flush=True
    )
    model, class_names, *_ = load_model(MODEL)
    test = read_coco(TEST)
    decoding = DecodeSettings(**params.evaluate.model_dump(exclude={"pictures"}))
    examples = [
        explain_picture(
            model,
            picture.file_name,
            read_picture(Path(picture.file_name)),
            test.objects[picture.id],
            decoding,
            params.gradcam.score_threshold,
            params.gradcam.detections_per_picture,
        )
        for picture in _spread(test, params.gradcam.pictures)
    ]
    metrics, run_facts = (json.loads(path.read_text(encoding="utf-8")) for path in (METRICS, RUN))
    facts = {name: f"{metrics[name]:.3f}" for name in ("AP50", "AP", "AR100") if name in metrics}
    facts |= {
        "test pictures shown": f"{len(examples)} of {len(test.pictures)}",
        "scores from": f"{params.gradcam.score_threshold:g}",
        "network": model.settings.backbone,
        "MLflow run": run_facts["run_id"],
    }
    with new_folder(REPORT) as folder:
        write_text(folder / "index.html", report_html(examples, class_names, facts))
        # DVC shows a folder's pictures, and complains of a page among them.
        (folder / "pictures").mkdir()
        for number, example in enumerate(examples, start=1):
            Image.fromarray(strip(example, class_names)).save(folder / "pictures" / f"{number:02}.jpg", quality=85)
    with resume_run(RUN) as run:
        run.log_artifacts(REPORT, "gradcam")
    explained = sum(len(example.explained) for example in examples)
    print(f"gradcam-report: {explained} detections explained on {len(examples)} pictures: {REPORT / 'index.html'}")
    print(
        f"next: open {REPORT / 'index.html'}; compare runs with `uv run mlflow ui --backend-store-uri "
        f"{run_facts['tracking_uri']}`; put this model into production with `uv run retinanet promote`"
    )


def _spread(dataset: CocoDataset, count: int) -> list[Picture]:
    """Up to `count` pictures, evenly over the whole set: neighbours in the file are often alike."""
    rows = np.linspace(0, len(dataset.pictures) - 1, min(count, len(dataset.pictures))).round().astype(int)
    return [dataset.pictures[row] for row in rows]


if __name__ == "__main__":
    main()
