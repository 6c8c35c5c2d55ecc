"""An exported model of one kilobyte, for tests of what opens and serves exported models."""

import json
from pathlib import Path

import onnx.helper
import onnx.parser


def write_toy_onnx(path: Path) -> None:
    """Write a model that detects one cat of score 0.9 in the middle half of any image."""
    model = onnx.parser.parse_model(TOY)
    about = {"class_names": ["cat", "dog"], "category_ids": [3, 7], "input_size": [64, 96], "padding": [0, 0, 0]}
    about |= {"tiling": [0, 0], "thresholds": [0.3, 0.3], "reading": {"max_pixels": 100_000_000, "white_level": 65_535}}
    onnx.helper.set_model_props(model, {"retinanet": json.dumps(about)})
    onnx.save(model, path)


TOY = """
<ir_version: 10, opset_import: ["" : 20]>
toy (uint8[N,H,W,3] images, int64[N,2] sizes)
  => (float[N,4] boxes, float[N] scores, int64[N] labels, int64[N] image_index)
{
  corners = Constant<value = float[2,4] {0.25, 0.0, 0.75, 0.0, 0.0, 0.25, 0.0, 0.75}>()
  backwards = Constant<value_ints = [1, 0]>()
  width_height = Gather<axis = 1>(sizes, backwards)
  sides = Cast<to = 1>(width_height)
  boxes = MatMul(sides, corners)
  batch = Shape<start = 0, end = 1>(sizes)
  score = Constant<value_floats = [0.9]>()
  scores = Expand(score, batch)
  label = Constant<value_ints = [0]>()
  labels = Expand(label, batch)
  zero = Constant<value_int = 0>()
  one = Constant<value_int = 1>()
  count = Squeeze(batch)
  image_index = Range(zero, count, one)
}
"""
