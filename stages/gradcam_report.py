"""Explain detections on test images by HiResCAM heat maps: reports/gradcam/index.html."""

import json
from pathlib import Path

from PIL import Image

from retinanet.config.params import load_params
from retinanet.dataset.coco import read_coco
from retinanet.errors import exit_on_error
from retinanet.explain.examples import explain_image
from retinanet.explain.panels import strip
from retinanet.explain.report import report_html
from retinanet.files import new_folder, write_text
from retinanet.images.reading import read_image
from retinanet.images.sampling import evenly_spaced
from retinanet.inference.detections import DecodeSettings, thresholds_text
from retinanet.model.weights import load_model
from retinanet.tracking.publication import log_heat_maps
from retinanet.tracking.runs import resume_run
from retinanet.tracking.status import pages_hint
from stages import paths


@exit_on_error
def main() -> None:
    params = load_params(paths.PARAMS)
    print(f"gradcam-report: HiResCAM heat maps of detections on {params.gradcam.images} test images", flush=True)
    trained = load_model(paths.MODEL)
    test_set = read_coco(paths.TEST_JSON)
    decoding = DecodeSettings(**params.evaluate.decoding())
    examples = [
        explain_image(
            trained.model,
            image.file_name,
            read_image(Path(image.file_name), image.max_pixels),
            test_set.objects[image.id],
            trained.input_size,
            decoding,
            trained.score_thresholds,
            params.gradcam.detections_per_image,
        )
        for image in evenly_spaced(test_set.images, params.gradcam.images)
    ]
    metrics, run_facts = (json.loads(path.read_text(encoding="utf-8")) for path in (paths.METRICS, paths.RUN))
    facts = {name: f"{metrics[name]:.3f}" for name in ("AP50", "AP", "AR100") if name in metrics}
    facts |= {
        "test images shown": f"{len(examples)} of {len(test_set.images)}",
        "minimum scores": thresholds_text(trained.class_names, trained.score_thresholds),
        "network": trained.model.architecture["backbone"],
        "MLflow run": run_facts["run_id"],
    }
    with new_folder(paths.GRADCAM_REPORT) as folder:
        write_text(folder / "index.html", report_html(examples, trained.class_names, facts))
        # DVC plots a folder of images, but not one that also contains the page.
        (folder / "images").mkdir()
        for number, example in enumerate(examples, start=1):
            Image.fromarray(strip(example, trained.class_names)).save(
                folder / "images" / f"{number:02}.jpg", quality=85
            )
    with resume_run(paths.RUN) as run:
        log_heat_maps(run, paths)
    explained = sum(len(example.explained) for example in examples)
    page = paths.GRADCAM_REPORT / "index.html"
    print(f"gradcam-report: {explained} detections on {len(examples)} images explained: {page}")
    print(
        f"next: open {page}; compare runs with `{pages_hint()}`; put this model into production with "
        "`uv run retinanet promote`"
    )


if __name__ == "__main__":
    main()
