"""Anchors proposed for the prepared data, told beside the present ones."""

from pathlib import Path
from typing import NamedTuple

from retinanet.config.params import write_params
from retinanet.data_report.anchor_fit import fit_anchors
from retinanet.data_report.coverage import THRESHOLDS, AnchorSettings, best_ious, coverage_by_class, training_boxes
from retinanet.dataset.coco import read_coco
from retinanet.images.preprocess import InputSize


class Proposal(NamedTuple):
    """present and fitted anchors, and what each reaches by class."""

    present: AnchorSettings
    fitted: AnchorSettings
    present_coverage: dict[str, dict]
    fitted_coverage: dict[str, dict]


def propose_anchors(train: Path, anchors: AnchorSettings, input_size: InputSize) -> Proposal:
    """Fit anchors to the split file's boxes. Raises AnnotationError."""
    dataset = read_coco(train)
    boxes = training_boxes(dataset, input_size)
    fitted = fit_anchors(boxes, anchors)
    reached = [coverage_by_class(best_ious(boxes, one), boxes.labels, dataset.class_names) for one in (anchors, fitted)]
    return Proposal(anchors, fitted, *reached)


def proposal_text(proposal: Proposal) -> str:
    """A table of the share of each class that anchors reach, now and then, and the settings."""
    key = f"IoU {THRESHOLDS[0]}"
    width = max(map(len, proposal.present_coverage), default=0)
    lines = [f"share of the training objects that an anchor reaches with {key}, now and as proposed:"]
    for name, present in proposal.present_coverage.items():
        then = proposal.fitted_coverage[name][key]
        lines.append(f"  {name:{width}}  {present[key]:7.1%}  {then:7.1%}  of {present['boxes']}")
    if proposal.fitted == proposal.present:
        return "\n".join([*lines, "no other sizes and ratios are clearly better: nothing to change"])
    for name, values in _changed(proposal).items():
        lines.append(f"{name}: {values}")
    return "\n".join(lines)


def write_proposal(proposal: Proposal, params: Path) -> None:
    """Put the fitted sizes and ratios into the params file. Raises ParamsError."""
    write_params(params, _changed(proposal))


def _changed(proposal: Proposal) -> dict[str, list[float]]:
    whole = {"sizes": proposal.fitted.sizes, "ratios": proposal.fitted.ratios}
    return {
        f"model.anchors.{name}": [int(value) if value == int(value) and name == "sizes" else value for value in values]
        for name, values in whole.items()
    }
