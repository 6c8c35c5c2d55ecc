"""Export the model, compare it with PyTorch, and register it: models/export, reports/export."""

from pathlib import Path

import pandas as pd

from retinanet.config.choices import check_choice
from retinanet.config.params import load_params
from retinanet.dataset.coco import read_coco
from retinanet.errors import exit_on_error
from retinanet.export.accuracy import read_images
from retinanet.export.artifacts import Gate, Limits, export, table_row
from retinanet.export.runtimes import RUNTIMES
from retinanet.export.source import Source
from retinanet.export.speed import measure_speed
from retinanet.files import new_folder, write_json, write_text
from retinanet.images.sampling import evenly_spaced
from retinanet.inference.detections import DecodeSettings
from retinanet.inference.network import torch_detector
from retinanet.model.weights import load_model
from retinanet.runtime import processor
from retinanet.tracking.disagreements import compare_with_production
from retinanet.tracking.model_card import model_card
from retinanet.tracking.publication import PROCESSOR, log_export, register_exported
from retinanet.tracking.runs import resume_run
from retinanet.tracking.version_record import write_record
from stages import paths

ONNX = "onnx"  # always exported: the other runtimes convert it
# Of a row of the table, what is the same on the next run: in reports/export.json, which DVC compares.
METRICS = ("megabytes", "val_AP", "test_AP", "detections", "matched_share", "min_iou", "max_score_difference")


@exit_on_error
def main() -> None:
    params = load_params(paths.PARAMS)
    settings, names = params.export, list(dict.fromkeys([ONNX, *params.export.runtimes]))
    for name in names:
        check_choice(paths.PARAMS, "export.runtimes", name, RUNTIMES)
    print(f"export: {paths.MODEL} to {', '.join(names)}", flush=True)
    trained, decoding = load_model(paths.MODEL), DecodeSettings(**params.evaluate.decoding())
    val_set, test_set = read_coco(paths.VAL_JSON), read_coco(paths.TEST_JSON)
    compared = evenly_spaced(test_set.images, settings.check_images)
    splits = {"val": val_set, "test": test_set} if len(names) > 1 else {}
    compared_files = [Path(info.file_name) for info in compared]
    images = read_images(compared, test_set.reading)
    gate = Gate(torch_detector(trained, decoding), images, splits, Limits(**settings.limits()))
    calibration = evenly_spaced(val_set.images, settings.calibration_images)
    with new_folder(paths.EXPORT) as folder:
        files = [Path(info.file_name) for info in calibration]
        source = Source(trained, decoding, folder / RUNTIMES[ONNX].file_name, files)
        checked = {name: export(name, folder, source, gate) for name in names}
    rows = [table_row("PyTorch", None, gate, [paths.MODEL], measure_speed(paths.MODEL, compared_files))]
    speeds = {name: measure_speed(paths.EXPORT / RUNTIMES[name].file_name, compared_files) for name in names}
    for name in names:
        rows.append(table_row(name, checked[name], gate, RUNTIMES[name].files(paths.EXPORT), speeds[name]))
        print(f"export: {_summary(rows[-1])}", flush=True)
    table = pd.DataFrame(rows).assign(processor=processor()).convert_dtypes()
    with new_folder(paths.EXPORT_TABLE.parent) as folder:
        table.to_csv(folder / paths.EXPORT_TABLE.name, index=False)
        write_json(folder / paths.EXPORT_SPEED.name, {**speeds[settings.serve].metrics, PROCESSOR: processor()})
    metrics = {row["runtime"]: {key: row[key] for key in METRICS if key in row} for row in rows[1:]}
    write_json(paths.EXPORT_REPORT, {"images": len(compared), **metrics.pop(ONNX), **metrics})
    write_text(paths.MODEL_CARD, model_card(params, trained.class_names, paths.EVALUATION, paths.SPLITS))
    with new_folder(paths.VERSION_RECORD) as folder:
        write_record(folder, trained.class_names, settings.serve, paths)
    with resume_run(paths.RUN) as run:
        log_export(run, paths)
        version = register_exported(params.tracking.model_name, run.id, paths)
    write_json(paths.REGISTERED, {"name": params.tracking.model_name, "version": version, "runtime": settings.serve})
    print(
        f"export: {paths.EXPORT / RUNTIMES[settings.serve].file_name} registered as {params.tracking.model_name} "
        f"version {version}; see {paths.EXPORT_TABLE}"
    )
    print(f"export: {compare_with_production(params.tracking.model_name, version, paths)}")


def _summary(row: dict) -> str:
    """One line on an exported model."""
    accuracy = f", AP on val {row['val_AP']:.4f}, on test {row['test_AP']:.4f}" if "val_AP" in row else ""
    return (
        f"{row['runtime']} in {row['precision']}: {row['megabytes']} MB, {row['median_ms']} ms an image{accuracy}, "
        f"{row['matched_share']:.1%} of its detections are PyTorch's"
    )


if __name__ == "__main__":
    main()
