"""The requests and answers of the service, as its OpenAPI document describes them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from retinanet.serving.limits import Limits

Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
THRESHOLD_TEXT = "Minimum score of detections, instead of the thresholds of each class that the model carries."
# A black PNG of 16 x 16, as an example.
PNG = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQAAAAA3iMLMAAAADElEQVR42mNgIA0AAAAwAAEodEl9AAAAAElFTkSuQmCC"


class DetectRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"images": [PNG], "score_threshold": 0.5}]}
    )

    images: list[str] = Field(min_length=1, description="Encoded images (JPEG, PNG, TIFF …) as base64 texts.")
    score_threshold: Threshold | None = Field(None, description=THRESHOLD_TEXT)


class ImageResult(BaseModel):
    boxes: list[tuple[float, float, float, float]] = Field(
        description="Left, top, right and bottom of each detection in pixels of the upright image, best score first."
    )
    scores: list[float]
    labels: list[str] = Field(description="The class name of each detection.")
    error: str | None = Field(description="Why the image has no detections; null if it was read.")


class DetectResponse(BaseModel):
    model: str = Field(description="Name of the model in the registry, or of its file.")
    version: str = Field(description="Version in the registry, or the start of the file's sha256.")
    results: list[ImageResult] = Field(description="One for each image of the request, in its order.")


class Problem(BaseModel):
    error: str


class Health(BaseModel):
    ready: bool
    model: str
    version: str
    problem: str | None = Field(
        description="Why the version that is now named in the registry is not served; null if it is."
    )


def request_body(limits: Limits) -> dict[str, Any]:
    """The OpenAPI description of the body of /detect: JSON, or a form with files."""
    json_schema = DetectRequest.model_json_schema()
    json_schema["properties"]["images"]["maxItems"] = limits.images
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1, "maxItems": limits.images}
    threshold = {"type": "number", "minimum": 0, "maximum": 1, "description": THRESHOLD_TEXT}
    form_schema = {
        "type": "object",
        "required": ["images"],
        "additionalProperties": False,
        "properties": {"images": files, "score_threshold": threshold},
    }
    content = {"application/json": json_schema, "multipart/form-data": form_schema}
    return {"required": True, "content": {kind: {"schema": schema} for kind, schema in content.items()}}
