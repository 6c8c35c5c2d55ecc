"""The complete detector as an ONNX graph: uint8 images in, boxes out, with decoding and NMS inside.

Inputs: images (N, H, W, 3) uint8 with H and W multiples of 32, sizes (N, 2) int64 (height, width inside the
padding). Outputs for all D detections of the batch: boxes (D, 4) xyxy in input pixels, scores (D,), labels (D,),
image_index (D,) int64, the row of the image; best first within an image. N, H and W are dynamic.
"""

import logging
import warnings
from pathlib import Path

import onnx.compose
import onnx.parser
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retinanet.export.metadata import KEY, metadata_of
from retinanet.inference.detections import DecodeSettings
from retinanet.model import boxes as box_ops
from retinanet.model.folding import for_inference
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import TrainedModel

OPSET = 20
ONE_FILE_BYTES = 2_000_000_000  # protobuf messages are limited to 2 GiB


def write_onnx(path: Path, trained: TrainedModel, settings: DecodeSettings) -> None:
    """Write the model to path and check it with onnx.checker.

    Weights of more than ONE_FILE_BYTES are written to a second file, path with ".data" appended.
    """
    model = trained.model
    graph = _joined(_export_network(for_inference(model), settings), _selection(settings, model.num_classes))
    for node in graph.graph.node:
        # The Python origin of each node, in random order: without it, the same model gives the same bytes.
        node.ClearField("metadata_props")
    onnx.helper.set_model_props(graph, {KEY: metadata_of(trained, settings)})
    path.parent.mkdir(parents=True, exist_ok=True)
    part, data = path.with_suffix(".part"), path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)
    is_large = sum(len(tensor.raw_data) for tensor in graph.graph.initializer) > ONE_FILE_BYTES
    onnx.save(graph, part, save_as_external_data=is_large, location=data.name)
    # By path: a model in memory is serialized to one message, with its weights.
    onnx.checker.check_model(part, full_check=True)
    part.rename(path)


class _Candidates(nn.Module):
    """Images to the best candidates of each level, like retinanet.model.decode before NMS."""

    def __init__(self, model: RetinaNet, per_level: int):
        super().__init__()
        self.model, self.per_level = model, per_level

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inputs = self.model.normalize(images)
        levels = [
            self._level(level, feature, inputs.shape[-2:], sizes)
            for level, feature in enumerate(self.model.features(inputs))
        ]
        boxes, scores, labels = (torch.cat(parts, dim=1) for parts in zip(*levels, strict=True))
        return boxes, scores, labels

    def _level(self, level: int, feature: Tensor, image_size: tuple, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # Level by level: the symbolic length of one tensor over all levels takes the exporter hours.
        logits, deltas = self.model.heads([feature])
        anchors = self.model.anchors_on(level, (feature.shape[-2], feature.shape[-1]), image_size)
        K = self.model.num_classes
        # Padded, so that k is constant even if a level has fewer candidates.
        best = F.pad(logits.flatten(1), (0, self.per_level), value=-1e4).topk(self.per_level, dim=1)
        candidate = best.indices.clamp(max=logits.shape[1] * K - 1)  # (N, per_level)
        anchor = candidate // K
        candidate_deltas = deltas.gather(1, anchor[..., None].expand(-1, -1, 4))
        boxes = box_ops.clip(box_ops.decode(candidate_deltas, anchors[anchor]), sizes[:, None])
        # NMS drops scores that do not exceed the threshold, so a score of 0 removes the box.
        scores = torch.where(box_ops.have_area(boxes), best.values.sigmoid(), 0.0)
        return boxes, scores, candidate % K


def _export_network(model: RetinaNet, settings: DecodeSettings) -> onnx.ModelProto:
    batch, rows, columns = (torch.export.Dim(name, min=1, max=1024) for name in ("batch", "rows", "columns"))
    model.eval()
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter warns about its own deprecations and about operators that it exports correctly.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _Candidates(model, settings.candidates_per_level),
            # So large that no map has a side of 1, which the exporter would treat as a constant.
            (torch.zeros(2, 256, 384, 3, dtype=torch.uint8), torch.tensor([[256, 384], [200, 350]])),
            input_names=["images", "sizes"],
            output_names=["boxes_in", "scores_in", "labels_in"],
            dynamic_shapes=({0: batch, 1: 32 * rows, 2: 32 * columns}, {0: batch}),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None only without dynamo
    return program.model_proto


def _joined(candidates: onnx.ModelProto, selection: onnx.ModelProto) -> onnx.ModelProto:
    # Like onnx.compose.merge_models, which cannot check models of more than 2 GiB.
    io_map = [(name, name) for name in ("boxes_in", "scores_in", "labels_in")]
    graph = onnx.compose.merge_graphs(candidates.graph, selection.graph, io_map)
    return onnx.helper.make_model(graph, opset_imports=candidates.opset_import, ir_version=candidates.ir_version)


def _selection(settings: DecodeSettings, num_classes: int) -> onnx.ModelProto:
    """Candidates (N, M) to detections: NMS by image and class, then the best of each image."""
    return onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : {OPSET}]>
        selection (float[N,M,4] boxes_in, float[N,M] scores_in, int64[N,M] labels_in)
            => (float[D,4] boxes, float[D] scores, int64[D] labels, int64[D] image_index)
        {{
            zero = Constant<value_int = 0>()
            one = Constant<value_int = 1>()
            two = Constant<value_int = 2>()
            first = Constant<value_ints = [0]>()
            second = Constant<value_ints = [1]>()
            outer = Constant<value_ints = [0, 2]>()

            # The candidates' scores by class, 0 for candidates of other classes: (N, K, M).
            classes = Constant<value_int = {num_classes}>()
            each_class = Range(zero, classes, one)
            class_column = Unsqueeze(each_class, outer)
            labels_row = Unsqueeze(labels_in, second)
            is_class = Equal(labels_row, class_column)
            scores_row = Unsqueeze(scores_in, second)
            nothing = Constant<value_float = 0.0>()
            class_scores = Where(is_class, scores_row, nothing)

            no_limit = Constant<value_int = {2**31 - 1}>()
            iou = Constant<value_float = {settings.nms_iou:.9f}>()
            threshold = Constant<value_float = {settings.score_threshold:.9f}>()
            kept = NonMaxSuppression(boxes_in, class_scores, no_limit, iou, threshold)

            # Best first.
            kept_image = Gather<axis = 1>(kept, zero)
            kept_candidate = Gather<axis = 1>(kept, two)
            image_column = Unsqueeze(kept_image, second)
            candidate_column = Unsqueeze(kept_candidate, second)
            kept_position = Concat<axis = 1>(image_column, candidate_column)
            kept_scores = GatherND(scores_in, kept_position)
            kept_count = Shape(kept_scores)
            sorted_scores, order = TopK(kept_scores, kept_count)
            sorted_position = Gather<axis = 0>(kept_position, order)
            sorted_image = Gather<axis = 0>(kept_image, order)

            # A detection's rank in its image, from 1.
            shape = Shape(scores_in)
            image_count = Gather(shape, zero)
            each_image = Range(zero, image_count, one)
            image_row = Unsqueeze(each_image, first)
            sorted_column = Unsqueeze(sorted_image, second)
            is_image = Equal(sorted_column, image_row)
            ones = Cast<to = 7>(is_image)
            counts = CumSum(ones, zero)
            own_counts = Mul(counts, ones)
            rank = ReduceSum<keepdims = 0>(own_counts, second)
            max_count = Constant<value_int = {settings.detections_per_image}>()
            is_kept = LessOrEqual(rank, max_count)

            scores = Compress<axis = 0>(sorted_scores, is_kept)
            image_index = Compress<axis = 0>(sorted_image, is_kept)
            position = Compress<axis = 0>(sorted_position, is_kept)
            boxes = GatherND(boxes_in, position)
            labels = GatherND(labels_in, position)
        }}
    """)
