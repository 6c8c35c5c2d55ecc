"""All sections of params.yaml, typed and checked."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from retinanet.config.download import Download
from retinanet.config.fields import Count, CountOrZero, NotNegative, Pattern, Positive, Real, Section, Share
from retinanet.config.model import Model
from retinanet.config.prepare import Prepare
from retinanet.config.training import Runtime, Train


class DataReport(Section):
    """Thresholds of the data report."""

    min_coverage: Share
    """Warn about a class if fewer than this share of its objects have an anchor with IoU 0.5 or more."""


class Evaluate(Section):
    """How scores become detections on the test split, in the exported model and in production."""

    score_threshold: Share
    """Detections need a score above it."""
    nms_iou: Share
    """IoU threshold of class-wise NMS."""
    candidates_per_level: Count
    """Best scores of each pyramid level that reach non-maximum suppression."""
    detections_per_image: Count
    """Maximum number of detections; per tile, if an image is cut. COCO metrics use the 100 best of each class."""
    operating_point: Literal["f1", "precision", "recall"]
    """What the threshold of each class, from which its detections count, is chosen for on val: the best F1, or the
    precision or recall of `operating_target`."""
    operating_target: Annotated[Real, Field(gt=0, lt=1)]
    """Precision or recall to reach; not used for f1."""
    ious: list[Annotated[Real, Field(gt=0, lt=1)]]
    """IoU thresholds to report AP, precision, recall and F1 at, in addition to COCO's metrics, e.g. `[0.4]`."""
    slice_pattern: Pattern
    """Regular expression for image paths whose first (group) is a slice of the test set to report metrics of."""
    drawn_images: CountOrZero
    """Test images drawn with ground truth and detections."""

    def decoding(self) -> dict[str, Any]:
        """The arguments of retinanet.inference.detections.DecodeSettings."""
        others = {"operating_point", "operating_target", "ious", "slice_pattern", "drawn_images"}
        return self.model_dump(exclude=others)


class Export(Section):
    """The runtimes that the model is exported to, and how closely they must agree with PyTorch."""

    min_matched: Share
    """Minimum share of detections with a counterpart in the other model."""
    min_iou: Share
    """Minimum IoU of a detection and its counterpart."""
    score_tolerance: Positive
    """Maximum difference of their scores."""
    check_images: Count
    """Test images to compare on."""
    runtimes: list[str]
    """Made beside the ONNX file: `openvino` (in bfloat16 if the processor computes in it), `openvino-int8`."""
    serve: str
    """What the registered version holds: `onnx` or one of `export.runtimes`."""
    max_loss_bf16: Share
    """AP on val that a model may lose by computing in bfloat16."""
    max_loss_int8: Share
    """AP on val that a model may lose by computing in 8-bit integers."""
    calibration_images: Count
    """Maximum number of val images from which the ranges of 8-bit numbers are chosen."""

    @model_validator(mode="after")
    def _serves_what_is_made(self) -> "Export":
        if self.serve not in ("onnx", *self.runtimes):
            raise ValueError(f"serve is {self.serve}, which is not made; add it to export.runtimes, or serve onnx")
        return self

    def limits(self) -> dict[str, Any]:
        """The arguments of retinanet.export.artifacts.Limits."""
        return self.model_dump(exclude={"check_images", "runtimes", "serve", "calibration_images"})


class Gradcam(Section):
    """What the report of explained detections shows, and how heat maps are computed (docs/explanation.md)."""

    method: Literal["hirescam", "gradcam", "gradcam++", "eigencam"]
    """How heat maps are computed."""
    cases_per_kind: Count
    """Hits, false positives and missed objects to explain, of each kind and class."""
    max_cases: Count
    """Maximum number of explained cases; with many classes each has fewer."""
    faithfulness_hits: CountOrZero
    """Hits on which deletion, insertion and randomization are measured; each takes about 36 passes of the network."""


class Promote(Section):
    """What a version must reach to be promoted to production."""

    metric: str
    """Metric of the test split, a key of reports/evaluate/metrics.json."""
    floor: NotNegative
    """Minimum value of the metric."""
    min_gain: NotNegative
    """Minimum gain over production; the 95% interval of the gain must lie above 0 in any case."""
    max_class_loss: NotNegative
    """Refuse if the metric of a class or slice falls by more than this, with 95% confidence over all of them."""
    max_latency_ms: NotNegative
    """Maximum time for an image of the registered model, from file to detections, which 95% of the images keep to on
    the machine that exported it; 0: no limit."""
    max_memory_mb: NotNegative
    """Maximum memory of a process that detects with the registered model; 0: no limit."""
    when_undecided: Literal["refuse", "accept"]
    """Whether a version with a gain that may be chance is promoted."""
    require_signature: str
    """File of public keys, one of which must have signed a version that is promoted or used by its name in the
    registry; empty: no signature is needed."""

    def gate(self) -> dict[str, Any]:
        """The arguments of retinanet.tracking.comparison.Gate."""
        return self.model_dump(exclude={"when_undecided", "require_signature"}) | {
            "accepts_undecided": self.when_undecided == "accept"
        }


class Tracking(Section):
    """Names in MLflow."""

    experiment: Annotated[str, Field(min_length=1)]
    """MLflow experiment."""
    model_name: Annotated[str, Field(min_length=1)]
    """MLflow registered model name."""


class Params(Section):
    """Every setting of the pipeline."""

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
    def _batch_divides(self) -> "Params":
        batch, runtime = self.train.batch_size, self.runtime
        if batch % (runtime.processes * runtime.accumulation_steps):
            raise ValueError(
                f"train.batch_size is {batch}; it must be a multiple of runtime.processes ({runtime.processes}) times "
                f"runtime.accumulation_steps ({runtime.accumulation_steps})"
            )
        return self
