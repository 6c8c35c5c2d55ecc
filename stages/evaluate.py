"""Measure the model on the test split, once: reports/evaluate."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from retinanet.config.params import load_params
from retinanet.dataset.coco import CocoDataset, read_coco
from retinanet.drawing import CROWD_COLOR, draw_boxes, draw_detections
from retinanet.errors import exit_on_error
from retinanet.evaluation.coco_metrics import evaluate, summarize
from retinanet.evaluation.curves import class_table, draw_precision_recall, precision_recall
from retinanet.evaluation.errors import confusion, count_errors, detections_above
from retinanet.evaluation.validate import validate
from retinanet.files import new_folder, write_json
from retinanet.images.reading import read_image
from retinanet.inference.detections import DecodeSettings, Detections
from retinanet.model.weights import load_model
from retinanet.runtime import best_device, keep_freed_memory
from retinanet.tracking.provenance import evaluation_digest
from retinanet.tracking.runs import evaluation_run
from stages import paths

TRUTH = (255, 255, 255)


@exit_on_error
def main() -> None:
    keep_freed_memory()
    params = load_params(paths.PARAMS)
    test_set = read_coco(paths.TEST_JSON)
    print(f"evaluate: the model on {len(test_set.images)} test images", flush=True)
    trained = load_model(paths.MODEL)
    decoding = DecodeSettings(**params.evaluate.decoding())
    model = trained.model.to(best_device())
    found = validate(model, test_set, Path(), trained.input_size, decoding, workers=params.runtime.workers)
    evaluation = evaluate(test_set, found.results)
    metrics = summarize(evaluation, test_set)
    table = class_table(evaluation, test_set)
    shown = detections_above(test_set, found.results, [row["best_threshold"] for row in table])
    digest = evaluation_digest(params.evaluate.decoding(), paths.TEST_JSON, paths.IMAGE_INDEX)
    with new_folder(paths.EVALUATION) as folder:
        write_json(folder / paths.METRICS.name, metrics)
        write_json(folder / "detections.json", found.results)
        write_json(folder / "errors.json", count_errors(test_set, shown))
        write_json(folder / paths.EVALUATION_DIGEST.name, {"digest": digest})
        curve = precision_recall(evaluation, test_set)
        pd.DataFrame(curve, columns=["class", "recall", "precision", "score"]).to_csv(
            folder / "pr_curve.csv", index=False
        )
        pd.DataFrame(table).to_csv(folder / "per_class.csv", index=False)
        pd.DataFrame(confusion(test_set, shown)).to_csv(folder / "confusion.csv", index=False)
        draw_precision_recall(curve, folder / "pr_curve.png")
        _draw_images(test_set, shown, params.evaluate.drawn_images, folder / "images")
    with evaluation_run(paths.RUN, digest) as run:
        run.log_metrics({f"test/{name}": value for name, value in metrics.items()})
        run.log_artifacts(paths.EVALUATION, "evaluate")
    print(f"evaluate: test AP50 {metrics['AP50']:.3f}, AP {metrics['AP']:.3f}; see {paths.EVALUATION}")


def _draw_images(dataset: CocoDataset, shown: dict[int, Detections], count: int, folder: Path) -> None:
    """Truth on the left, detections on the right, for some images spread over the set."""
    folder.mkdir()
    rows = np.linspace(0, len(dataset.images) - 1, min(count, len(dataset.images))).round().astype(int)
    for row in rows:
        info = dataset.images[row]
        image, objects = read_image(Path(info.file_name)), dataset.objects[info.id]
        detected = draw_detections(image, shown[info.id], dataset.class_names)
        factor = detected.shape[0] // image.shape[0]  # small images come back enlarged
        enlarged = image.repeat(factor, axis=0).repeat(factor, axis=1)
        names = np.array(dataset.class_names if len(dataset.class_names) > 1 else [""])[objects.labels]
        truth = enlarged
        for rows_drawn, color in ((objects.iscrowd, CROWD_COLOR), (objects.is_single, TRUTH)):
            truth = draw_boxes(truth, objects.boxes_xyxy[rows_drawn] * factor, names[rows_drawn], color)
        gap = np.full((detected.shape[0], 8, 3), 255, np.uint8)
        Image.fromarray(np.concatenate([truth, gap, detected], axis=1)).save(
            folder / f"{Path(info.file_name).stem}.png"
        )


if __name__ == "__main__":
    main()
