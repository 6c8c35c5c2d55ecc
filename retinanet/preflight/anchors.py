"""Propose anchors for the prepared data and compare them with the current ones."""

from pathlib import Path
from typing import NamedTuple

from retinanet.config.params import write_params
from retinanet.data_report.anchor_fit import fit_anchors
from retinanet.data_report.coverage import THRESHOLDS, AnchorSettings, best_ious, coverage_by_class, training_boxes
from retinanet.dataset.coco import CocoDataset
from retinanet.images.preprocess import InputSize


class Proposal(NamedTuple):
    """The current and the fitted anchors, and the coverage of each by class."""

    current: AnchorSettings
    fitted: AnchorSettings
    current_coverage: dict[str, dict]
    fitted_coverage: dict[str, dict]


def propose_anchors(dataset: CocoDataset, anchors: AnchorSettings, input_size: InputSize) -> Proposal:
    """Fit anchors to the boxes of a dataset."""
    boxes = training_boxes(dataset, input_size)
    fitted = fit_anchors(boxes, anchors)
    coverage = [
        coverage_by_class(best_ious(boxes, settings), boxes.labels, dataset.class_names)
        for settings in (anchors, fitted)
    ]
    return Proposal(anchors, fitted, *coverage)


def proposal_text(proposal: Proposal) -> str:
    """A table of the share of each class's objects that anchors cover, and the proposed settings."""
    key = f"IoU {THRESHOLDS[0]}"
    width = max(map(len, proposal.current_coverage), default=0)
    lines = [f"share of training objects that an anchor covers with {key}, now and as proposed:"]
    for name, current in proposal.current_coverage.items():
        fitted = proposal.fitted_coverage[name][key]
        lines.append(f"  {name:{width}}  {current[key]:7.1%}  {fitted:7.1%}  of {current['boxes']}")
    if proposal.fitted == proposal.current:
        return "\n".join([*lines, "no other sizes and ratios are clearly better; nothing to change"])
    for name, values in proposed_settings(proposal).items():
        lines.append(f"{name}: {values}")
    return "\n".join(lines)


def proposed_settings(proposal: Proposal) -> dict[str, list[float]]:
    """The fitted sizes and ratios by their keys in params.yaml."""
    fitted = {"sizes": proposal.fitted.sizes, "ratios": proposal.fitted.ratios}
    return {
        f"model.anchors.{name}": [int(value) if value == int(value) and name == "sizes" else value for value in values]
        for name, values in fitted.items()
    }


def write_proposal(proposal: Proposal, params: Path) -> None:
    """Write the fitted sizes and ratios into the params file. Raises ParamsError."""
    write_params(params, proposed_settings(proposal))
