"""Report on the prepared data, independently of training: reports/data/index.html."""

from retinanet.config.params import load_params
from retinanet.data_report.coverage import AnchorSettings
from retinanet.data_report.page import write_page
from retinanet.data_report.statistics import data_statistics
from retinanet.dataset.coco import read_coco
from retinanet.errors import exit_on_error
from retinanet.files import new_folder, sha256_of, write_json
from retinanet.images.preprocess import InputSize
from retinanet.prepare.findings import read_findings
from stages import paths


@exit_on_error
def main() -> None:
    params = load_params(paths.PARAMS)
    findings = read_findings(paths.FINDINGS)
    datasets = {split: read_coco(path) for split, path in paths.SPLITS.items()}
    anchors = AnchorSettings(**params.model.anchors.grid())
    input_size = InputSize(params.model.short_side, params.model.long_side)
    min_coverage = params.data_report.min_coverage
    statistics = data_statistics(findings, datasets, anchors, input_size, min_coverage)
    # Identifies the data that the report is about.
    statistics |= {"prepared": {split: sha256_of(path) for split, path in paths.SPLITS.items()}}
    with new_folder(paths.DATA_REPORT) as folder:
        write_json(folder / paths.DATA_STATISTICS.name, statistics)
        write_page(folder, findings, datasets, statistics, min_coverage)
    for warning in statistics["warnings"]:
        print(f"data-report: warning: {warning}")
    print(f"data-report: {paths.DATA_REPORT / 'index.html'}")


if __name__ == "__main__":
    main()
