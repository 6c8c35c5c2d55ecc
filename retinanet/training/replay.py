"""Save a step that failed, and run it again to diagnose it."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from retinanet.config.training import Train
from retinanet.dataset.samples import Batch
from retinanet.errors import TrainingError
from retinanet.model.retinanet import RetinaNet
from retinanet.runtime import chosen_device
from retinanet.training.diagnosis import StepDiagnosis, diagnose_step
from retinanet.training.step import Learner


def keep_step(path: Path, learner: Learner, micro_batches: Sequence[Batch]) -> Path:
    """Write the network before the step (its norms' statistics are those after it), the settings and the batch.

    Returns the path.
    """
    content = {
        "architecture": learner.model.architecture,
        "trainable": [name for name, parameter in learner.model.named_parameters() if parameter.requires_grad],
        "settings": learner.settings.model_dump_json(),
        "num_classes": learner.model.num_classes,
        "class_names": learner.class_names,
        "weights": learner.model.state_dict(),
        "normalizer": learner.normalizer.state_dict(),
        "micro_batches": [micro_batch._asdict() for micro_batch in micro_batches],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    incomplete = path.with_suffix(".part")
    torch.save(content, incomplete)
    incomplete.rename(path)
    return path


def replay_step(path: Path) -> tuple[list[int], StepDiagnosis]:
    """The ids of the step's images, and its diagnosis.

    Raises TrainingError if the file does not exist or was not written by keep_step.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        settings = Train.model_validate(json.loads(content["settings"]))
    except FileNotFoundError as error:
        raise TrainingError(f"{path} does not exist; training writes it if a loss is not finite") from error
    except Exception as error:
        raise TrainingError(
            f"{path} is not a saved step: {' '.join(str(error).split())[:200]}; "
            "use the failed-step.pt that training wrote"
        ) from error
    model = RetinaNet(content["num_classes"], **content["architecture"])
    model.load_state_dict(content["weights"])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in content["trainable"])
    changed: dict[str, object] = {"compile": False}
    device = chosen_device()
    if settings.precision == "fp16" and device.type != "cuda":
        changed["precision"] = "fp32"
    learner = Learner(model.train(), settings.model_copy(update=changed), 1, device, content["class_names"])
    learner.normalizer.load_state_dict(content["normalizer"])
    micro_batches = [Batch(**micro_batch) for micro_batch in content["micro_batches"]]
    image_ids = [image_id for micro_batch in micro_batches for image_id in micro_batch.image_ids]
    return image_ids, diagnose_step(learner, micro_batches)
