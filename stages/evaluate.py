"""Choose the score threshold of each class on val, and measure the model on test: reports/evaluate."""

from pathlib import Path

import pandas as pd

from retinanet.config.params import load_params
from retinanet.dataset.coco import read_coco
from retinanet.errors import exit_on_error
from retinanet.evaluation.calibration import calibration_error, draw_reliability, reliability
from retinanet.evaluation.chosen_ious import metrics_at_ious
from retinanet.evaluation.coco_metrics import evaluate, summarize
from retinanet.evaluation.comparisons import draw_comparisons
from retinanet.evaluation.curves import class_table, draw_precision_recall, precision_recall
from retinanet.evaluation.errors import confusion, count_errors, detections_above
from retinanet.evaluation.intervals import deciding_edges, interval_report, intervals
from retinanet.evaluation.matches import matches_of
from retinanet.evaluation.operating_points import operating_points, point_table
from retinanet.evaluation.slices import COLUMNS, slice_table, slices_of, worst_slice
from retinanet.evaluation.validate import validate
from retinanet.files import new_folder, write_json
from retinanet.inference.detections import DecodeSettings
from retinanet.model.folding import for_inference
from retinanet.model.weights import load_model, save_model
from retinanet.runtime import chosen_device, keep_freed_memory
from retinanet.tracking.provenance import evaluation_digest
from retinanet.tracking.publication import log_evaluation
from retinanet.tracking.runs import evaluation_run
from stages import paths


@exit_on_error
def main() -> None:
    keep_freed_memory()
    params = load_params(paths.PARAMS)
    settings, val_set, test_set = params.evaluate, read_coco(paths.VAL_JSON), read_coco(paths.TEST_JSON)
    print(f"evaluate: {paths.TRAINED} on {len(val_set.images)} val and {len(test_set.images)} test images", flush=True)
    trained = load_model(paths.TRAINED)
    decoding = DecodeSettings(**settings.decoding())
    model = for_inference(trained.model).to(chosen_device(params.runtime.device))
    val_results, results = (
        validate(model, dataset, Path(), trained.input_size, decoding, workers=params.runtime.workers).results
        for dataset in (val_set, test_set)
    )
    val_matches = matches_of(evaluate(val_set, val_results), val_set)
    points = operating_points(
        val_matches, settings.operating_point, settings.operating_target, decoding.score_threshold
    )
    thresholds = tuple(point.threshold for point in points)
    save_model(paths.MODEL, trained._replace(thresholds=thresholds))
    evaluation = evaluate(test_set, results)
    matches = matches_of(evaluation, test_set, slices_of(test_set, settings.slice_pattern))
    found = intervals(matches)
    bins = reliability(matches)
    metrics = summarize(evaluation, test_set) | deciding_edges(found)
    metrics |= metrics_at_ious(test_set, results, settings.ious, thresholds)
    metrics |= {"calibration_error": calibration_error(bins)}
    detections = detections_above(test_set, results, thresholds)
    digest = evaluation_digest(settings.decoding(), paths.TEST_JSON, paths.IMAGE_INDEX)
    with new_folder(paths.EVALUATION) as folder:
        write_json(folder / paths.METRICS.name, metrics)
        write_json(folder / "intervals.json", interval_report(matches, found))
        matches.save(folder / paths.MATCHES.name)
        write_json(folder / paths.DETECTIONS.name, results)
        write_json(folder / "errors.json", count_errors(test_set, detections))
        write_json(folder / paths.EVALUATION_DIGEST.name, {"digest": digest})
        curve = precision_recall(evaluation, test_set)
        pd.DataFrame(curve, columns=["class", "recall", "precision", "score"]).to_csv(
            folder / "pr_curve.csv", index=False
        )
        pd.DataFrame(class_table(matches, thresholds)).to_csv(folder / "per_class.csv", index=False)
        pd.DataFrame(point_table(val_matches, points)).to_csv(folder / paths.OPERATING_POINTS.name, index=False)
        slices = slice_table(matches, thresholds)
        pd.DataFrame(slices, columns=COLUMNS).to_csv(folder / "slices.csv", index=False)
        pd.DataFrame(bins).to_csv(folder / "calibration.csv", index=False)
        draw_reliability(bins, folder / "calibration.png")
        pd.DataFrame(confusion(test_set, detections)).to_csv(folder / "confusion.csv", index=False)
        draw_precision_recall(curve, folder / "pr_curve.png")
        draw_comparisons(test_set, detections, settings.drawn_images, folder / "images")
    with evaluation_run(paths.RUN, digest) as run:
        log_evaluation(run, paths)
    for name, point in zip(test_set.class_names, points, strict=True):
        if point.reason:
            print(f"evaluate: threshold of {name} {point.threshold:g}: {point.reason}")
    if worst := worst_slice(slices):
        print(f"evaluate: lowest AP50 of a slice: {worst['AP50']:.3f}, {worst['slice']} {worst['part']}")
    reason = f", no 95% interval: {found['AP50'].reason}" if found["AP50"].reason else ""
    print(f"evaluate: test AP50 {found['AP50']}, AP {found['AP']}{reason}; see {paths.EVALUATION}")


if __name__ == "__main__":
    main()
