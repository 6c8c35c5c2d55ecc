"""params.yaml as a whole: every section, typed and checked."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from retinanet.config.download import Download
from retinanet.config.fields import Count, CountOrZero, NotNegative, Positive, Section, Share
from retinanet.config.model import Model
from retinanet.config.prepare import Prepare
from retinanet.config.training import Runtime, Train


class DataReport(Section):
    min_coverage: Share


class Evaluate(Section):
    score_threshold: Share
    nms_iou: Share
    candidates_per_level: Count
    detections_per_image: Count
    drawn_images: CountOrZero

    def decoding(self) -> dict[str, Any]:
        """The arguments of retinanet.inference.detections.DecodeSettings."""
        return self.model_dump(exclude={"drawn_images"})


class Export(Section):
    min_matched: Share
    min_iou: Share
    score_tolerance: Positive
    check_images: Count


class Gradcam(Section):
    images: Count
    detections_per_image: Count
    score_threshold: Share


class Promote(Section):
    metric: str
    floor: NotNegative
    min_gain: NotNegative


class Tracking(Section):
    experiment: Annotated[str, Field(min_length=1)]
    model_name: Annotated[str, Field(min_length=1)]


class Params(Section):
    download: Download
    prepare: Prepare
    data_report: DataReport
    model: Model
    train: Train
    runtime: Runtime
    evaluate: Evaluate
    export: Export
    gradcam: Gradcam
    promote: Promote
    tracking: Tracking

    @model_validator(mode="after")
    def _a_batch_divides(self) -> "Params":
        batch, runtime = self.train.batch_size, self.runtime
        if batch % (runtime.processes * runtime.accumulation_steps):
            raise ValueError(
                f"train.batch_size is {batch}; it must be a multiple of runtime.processes ({runtime.processes}) times "
                f"runtime.accumulation_steps ({runtime.accumulation_steps})"
            )
        return self
