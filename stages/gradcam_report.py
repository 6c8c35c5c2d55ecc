"""Explain hits, false positives and missed objects of the test split, and list labels to check: reports/gradcam."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from retinanet.config.params import load_params
from retinanet.dataset.coco import read_coco
from retinanet.errors import exit_on_error, first_of
from retinanet.evaluation.errors import detections_above
from retinanet.explain.case_heats import explain_cases, heat_metrics, localization
from retinanet.explain.cases import HIT, KINDS, Case, select_cases
from retinanet.explain.faithfulness import faithfulness_metrics
from retinanet.explain.label_checks import COLUMNS, UNLABELED, labels_to_check, table
from retinanet.explain.report import case_figure, report_html
from retinanet.files import new_folder, write_json, write_text
from retinanet.images.sampling import evenly_spaced
from retinanet.inference.detections import thresholds_text
from retinanet.model.folding import for_inference
from retinanet.model.weights import TrainedModel, load_model
from retinanet.runtime import chosen_device
from retinanet.tracking.publication import log_heat_maps
from retinanet.tracking.runs import resume_run
from retinanet.tracking.status import pages_hint
from stages import paths

# Cases of each kind that are also written as images of their own, for `dvc plots`.
PLOTTED = 3


@exit_on_error
def main() -> None:
    params = load_params(paths.PARAMS)
    settings = params.gradcam
    trained, test_set = load_model(paths.MODEL), read_coco(paths.TEST_JSON)
    results = json.loads(paths.DETECTIONS.read_text(encoding="utf-8"))
    detections = detections_above(test_set, results, [0.0] * len(test_set.class_names))
    thresholds = trained.score_thresholds
    cases = select_cases(test_set, detections, thresholds, settings.cases_per_kind, settings.max_cases)
    to_check = labels_to_check(test_set, detections, thresholds)
    print(f"gradcam-report: {settings.method} of {len(cases)} cases on {len(test_set.images)} test images", flush=True)
    model, names = for_inference(trained.model).to(chosen_device(params.runtime.device)), trained.class_names
    file_names = {image.id: image.file_name for image in test_set.images}
    figures, measured = {}, []
    for explained in explain_cases(model, test_set, cases, trained.input_size, settings.method):
        figures[explained.case] = case_figure(explained, names, file_names[explained.case.image_id])
        if explained.case.kind == HIT:
            measured.append(localization(explained.explanation.heat, explained.box_xyxy))
    metrics = heat_metrics(measured)
    if settings.faithfulness_hits:
        hits = evenly_spaced([case for case in cases if case.kind == HIT], settings.faithfulness_hits)
        metrics |= faithfulness_metrics(model, test_set, hits, trained.input_size, settings.method)
    figures = {case: figures[case] for case in cases}
    facts = _facts(trained, len(cases), metrics)
    with new_folder(paths.GRADCAM_REPORT) as folder:
        write_text(folder / "index.html", report_html(test_set, figures, to_check, facts, settings.method))
        write_json(folder / paths.GRADCAM_METRICS.name, metrics)
        pd.DataFrame(table(test_set, to_check), columns=COLUMNS).to_csv(folder / "labels_to_check.csv", index=False)
        _write_images(figures, folder / "images")
    with resume_run(paths.RUN) as run:
        log_heat_maps(run, paths)
    page, unlabeled = paths.GRADCAM_REPORT / "index.html", to_check[UNLABELED]
    if unlabeled:
        first = first_of([image.image.file_name for image in unlabeled], 3)
        print(f"gradcam-report: labels to look at first ({len(unlabeled)} images in labels_to_check.csv): {first}")
    print(f"gradcam-report: {len(cases)} cases explained: {page}")
    print(
        f"next: open {page}; compare runs with `{pages_hint()}`; put this model into production with "
        "`uv run retinanet promote`"
    )


def _facts(trained: TrainedModel, cases: int, metrics: dict[str, float]) -> dict[str, str]:
    test_metrics, run = (json.loads(path.read_text(encoding="utf-8")) for path in (paths.METRICS, paths.RUN))
    facts = {name: f"{test_metrics[name]:.3f}" for name in ("AP50", "AP", "AR100") if name in test_metrics}
    facts |= {
        "cases": str(cases),
        "minimum scores": thresholds_text(trained.class_names, trained.score_thresholds),
        "network": trained.model.architecture["backbone"],
        "MLflow run": run["run_id"],
    }
    if metrics:
        facts["heat inside the box (hits)"] = f"{metrics['heat_inside_box']:.0%}"
    return facts


def _write_images(figures: Mapping[Case, dict], folder: Path) -> None:
    # DVC plots a folder of images, but not one that also contains the page.
    folder.mkdir()
    for kind in KINDS:
        of_kind = [figure for case, figure in figures.items() if case.kind == kind]
        for number, figure in enumerate(evenly_spaced(of_kind, PLOTTED), start=1):
            (folder / f"{kind.replace(' ', '_')}_{number}.jpg").write_bytes(figure["jpeg"])


if __name__ == "__main__":
    main()
