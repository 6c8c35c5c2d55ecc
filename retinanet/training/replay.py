"""A step that went wrong, kept whole, to be looked at again."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from retinanet.config.settings import Model, Train
from retinanet.dataset.samples import Batch
from retinanet.errors import TrainingError
from retinanet.model.backbones import freeze_stages
from retinanet.model.retinanet import RetinaNet
from retinanet.training.process import best_device
from retinanet.training.step import Blame, Learner, explain_step


def keep_step(path: Path, learner: Learner, parts: Sequence[Batch]) -> Path:
    """Write the network as it was before the step (but for what norms keep count of), the settings and the batch.

    The path comes back.
    """
    content = {
        "model_settings": learner.model.settings.model_dump_json(),
        "settings": learner.settings.model_dump_json(),
        "num_classes": learner.model.num_classes,
        "class_names": learner.class_names,
        "weights": learner.model.state_dict(),
        "normaliser": learner.normaliser.state_dict(),
        "parts": [part._asdict() for part in parts],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    torch.save(content, fresh)
    fresh.rename(path)
    return path


def replay_step(path: Path) -> tuple[list[int], Blame]:
    """The pictures of a kept step, and where its numbers stop being finite. Raises TrainingError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        model_settings = Model.model_validate(json.loads(content["model_settings"]))
        settings = Train.model_validate(json.loads(content["settings"]))
    except FileNotFoundError as error:
        raise TrainingError(f"{path} does not exist; training writes it when a loss is not finite") from error
    except Exception as error:
        raise TrainingError(f"{path} is no kept step: {' '.join(str(error).split())[:200]}") from error
    model = RetinaNet(model_settings, content["num_classes"])
    model.load_state_dict(content["weights"])
    freeze_stages(model.backbone, model_settings.frozen_stages)
    alone: dict[str, object] = {"processes": 1, "compile": False}
    device = best_device()
    if settings.precision == "fp16" and device.type == "cpu":
        alone["precision"] = "fp32"
    learner = Learner(model.train(), settings.model_copy(update=alone), 1, device, content["class_names"])
    learner.normaliser.load_state_dict(content["normaliser"])
    parts = [Batch(**part) for part in content["parts"]]
    return [picture_id for part in parts for picture_id in part.picture_ids], explain_step(learner, parts)
