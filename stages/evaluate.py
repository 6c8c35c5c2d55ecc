"""Measure the model on the test split, once: reports/evaluate."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from retinanet.config.params import load_params
from retinanet.dataset.coco import CocoDataset, read_coco
from retinanet.drawing import CROWD_COLOUR, draw_boxes, draw_detections
from retinanet.errors import exit_on_error
from retinanet.evaluation.coco_metrics import evaluate, summarise
from retinanet.evaluation.curves import class_table, draw_precision_recall, precision_recall
from retinanet.evaluation.errors import confusion, count_errors, detections_above
from retinanet.evaluation.validate import validate
from retinanet.files import new_folder, write_json
from retinanet.images.reading import read_picture
from retinanet.inference.detections import Detections
from retinanet.inference.detector import DecodeSettings
from retinanet.model.weights import load_model
from retinanet.tracking.provenance import evaluation_digest
from retinanet.tracking.runs import evaluation_run
from retinanet.training.process import best_device, keep_freed_memory

MODEL, RUN = Path("models/model.safetensors"), Path("models/run.json")
TEST = Path("data/prepared/test.json")
REPORT = Path("reports/evaluate")
TRUTH = (255, 255, 255)
CODE = [Path("retinanet/evaluation/coco_metrics.py"), Path("retinanet/model/decode.py"), Path("stages/evaluate.py")]


@exit_on_error
def main() -> None:
    keep_freed_memory()
    params = load_params()
    test_set = read_coco(TEST)
    print(f"evaluate: the model on {len(test_set.pictures)} test pictures", flush=True)
    model, *_ = load_model(MODEL)
    decoding = DecodeSettings(**params.evaluate.model_dump(exclude={"pictures"}))
    device = best_device()
    found = validate(model.to(device), test_set, Path(), decoding, device)
    evaluation = evaluate(test_set, found.results)
    metrics = summarise(evaluation, test_set)
    table = class_table(evaluation, test_set)
    shown = detections_above(test_set, found.results, [row["best_threshold"] for row in table])
    digest = evaluation_digest(params.evaluate.model_dump(exclude={"pictures"}), TEST, CODE)
    with new_folder(REPORT) as folder:
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "detections.json", found.results)
        write_json(folder / "errors.json", count_errors(test_set, shown))
        write_json(folder / "evaluation.json", {"digest": digest})
        curve = precision_recall(evaluation, test_set)
        pd.DataFrame(curve, columns=["class", "recall", "precision", "score"]).to_csv(
            folder / "pr_curve.csv", index=False
        )
        pd.DataFrame(table).to_csv(folder / "per_class.csv", index=False)
        pd.DataFrame(confusion(test_set, shown)).to_csv(folder / "confusion.csv", index=False)
        draw_precision_recall(curve, folder / "pr_curve.png")
        _draw_pictures(test_set, shown, params.evaluate.pictures, folder / "pictures")
    with evaluation_run(RUN, digest) as run:
        run.log_metrics({f"test/{name}": value for name, value in metrics.items()})
        run.log_artifacts(REPORT, "evaluate")
    print(
        f"evaluate: test AP50 {metrics['AP50']:.3f}, AP {metrics['AP']:.3f}; figures, curves and pictures in {REPORT}"
    )


def _draw_pictures(dataset: CocoDataset, shown: dict[int, Detections], count: int, folder: Path) -> None:
    """Truth on the left, detections on the right, for some pictures spread over the set."""
    folder.mkdir()
    rows = np.linspace(0, len(dataset.pictures) - 1, min(count, len(dataset.pictures))).round().astype(int)
    for row in rows:
        info = dataset.pictures[row]
        picture, objects = read_picture(Path(info.file_name)), dataset.objects[info.id]
        detected = draw_detections(picture, shown[info.id], dataset.class_names)
        factor = detected.shape[0] // picture.shape[0]  # small pictures come back enlarged
        enlarged = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        names = np.array(dataset.class_names if len(dataset.class_names) > 1 else [""])[objects.labels]
        truth = enlarged
        for rows_drawn, colour in ((objects.iscrowd, CROWD_COLOUR), (objects.is_single, TRUTH)):
            truth = draw_boxes(truth, objects.boxes_xyxy[rows_drawn] * factor, names[rows_drawn], colour)
        gap = np.full((detected.shape[0], 8, 3), 255, np.uint8)
        Image.fromarray(np.concatenate([truth, gap, detected], axis=1)).save(
            folder / f"{Path(info.file_name).stem}.png"
        )


if __name__ == "__main__":
    main()
