"""Check data/raw, split it and tile large images: writes data/prepared and reports/prepare."""

from retinanet.annotations.formats import AUTO, FORMATS
from retinanet.config.choices import check_choice
from retinanet.config.params import load_params
from retinanet.dataset.coco import write_coco
from retinanet.errors import exit_on_error
from retinanet.files import new_folder, write_json
from retinanet.images.preprocess import InputSize
from retinanet.prepare.decisions import write_decisions
from retinanet.prepare.findings import write_findings
from retinanet.prepare.run import divide, read_and_check, store
from retinanet.prepare.summary import summary_lines
from stages import paths


@exit_on_error
def main() -> None:
    params = load_params(paths.PARAMS)
    check_choice(paths.PARAMS, "prepare.format", params.prepare.format, [AUTO, *FORMATS])
    print(f"prepare: checking {paths.RAW} and splitting it into train, val and test", flush=True)
    package = params.download.chosen_package()
    input_size = InputSize(params.model.short_side, params.model.long_side)
    readable = read_and_check(paths.RAW, params.prepare, package)
    divided = divide(readable, params.prepare, package, input_size)
    with new_folder(paths.PREPARE_REPORT) as report, new_folder(paths.PREPARED) as folder:
        prepared = store(divided, folder / "tiles", paths.PREPARED / "tiles")
        for split, dataset in prepared.datasets.items():
            write_coco(dataset, folder / paths.SPLITS[split].name)
        index = sorted((tile.file_name, tile.sha256) for tile in prepared.stored)
        write_json(folder / paths.IMAGE_INDEX.name, dict(index))
        write_decisions(divided.decisions, folder / paths.DECISIONS.name)
        write_findings(prepared.findings, report / paths.FINDINGS.name)
    for line in summary_lines(divided, prepared, params.evaluate.detections_per_image):
        print(f"prepare: {line}")
    print(f"prepare: {paths.PREPARED} and {paths.PREPARE_REPORT} written")


if __name__ == "__main__":
    main()
