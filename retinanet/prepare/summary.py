"""What a person reads about the prepared data."""

from retinanet.errors import first_of
from retinanet.prepare.findings import look_alikes_across_splits, missing_classes
from retinanet.prepare.run import Divided, Prepared
from retinanet.prepare.store import split_statistics
from retinanet.prepare.warnings import crowded_images


def summary_lines(divided: Divided, prepared: Prepared, max_detections: int) -> list[str]:
    """Renamed classes, remarks, warnings, the content of each split, and counts of what was skipped."""
    findings = prepared.findings
    lines = [f"class {old} is renamed to {new}" for old, new in findings.renamed_classes.items()]
    lines += findings.remarks
    statistics = {split: split_statistics(dataset) for split, dataset in prepared.datasets.items()}
    counts = {split: values["boxes"] for split, values in statistics.items()}
    warnings = [
        *findings.warnings,
        *crowded_images(divided.parts, max_detections),
        *missing_classes(counts),
        *look_alikes_across_splits(findings),
    ]
    lines += [f"warning: {warning}" for warning in warnings]
    for split, values in statistics.items():
        largest_first = sorted(values["boxes"].items(), key=lambda row: -row[1])
        boxes = first_of([f"{count} {name}" for name, count in largest_first])
        crowds = f"; {values['crowds']} ignored regions" if values["crowds"] else ""
        lines.append(f"{split:5} {values['images']} images ({values['negatives']} without objects): {boxes}{crowds}")
    equal = f", {len(findings.equal_boxes)} equal boxes counted once" if findings.equal_boxes else ""
    lines.append(
        f"format {findings.format}: {len(findings.skipped_images)} images and {len(findings.skipped_boxes)} boxes "
        f"skipped, {len(findings.clipped_boxes)} boxes clipped{equal}"
    )
    suspicious = len(findings.contradicting_boxes) + len(findings.unexpectedly_empty)
    if suspicious:
        lines.append(f"{suspicious} annotations look like mistakes; reports/data/index.html lists them")
    return lines
