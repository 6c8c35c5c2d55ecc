import shlex
import shutil

from dvc.utils.hydra import apply_overrides

from retinanet.config.params import flat, load_params
from retinanet.sweep.command import experiment_command

VALUES = {
    "train.learning_rate": 1.2345678901234e-05,
    "train.box_loss": {"kind": "smooth_l1", "beta": 0.1},
    "train.augment.scale": [0.8, 1.2],
    "train.compile": True,
    "model.weights": "models:/it's@production",
    "model.backbone": "timm/resnet10t",
}


def test_dvc_reads_the_settings_of_the_command(tmp_path):
    shutil.copy("params.yaml", tmp_path)
    words = shlex.split(experiment_command(VALUES, "sweep-best"))
    assert words[:5] == ["dvc", "exp", "run", "-n", "sweep-best"]
    apply_overrides(tmp_path / "params.yaml", [word for word in words[5:] if word != "-S"])
    changed = flat(load_params(tmp_path / "params.yaml").model_dump())
    changed["train.box_loss"] = load_params(tmp_path / "params.yaml").train.box_loss.model_dump()
    assert {key: changed[key] for key in VALUES} == VALUES
