import subprocess
import sys
from pathlib import Path

import pytest
from support.squares import CPU, make_squares, short_training

from retinanet.errors import PictureError
from retinanet.inference.detector import DecodeSettings
from retinanet.model.retinanet import RetinaNet
from retinanet.training.fit import fit

PROGRAM = """
from pathlib import Path
from support.squares import CPU, make_squares, short_training, small_network
from retinanet.inference.detector import DecodeSettings
from retinanet.model.retinanet import RetinaNet
from retinanet.training.fit import fit

folder = Path({folder!r})
squares = make_squares(folder)
(folder / "3.png").unlink()
model = RetinaNet(small_network(), 1)
list(fit(model, squares, squares, folder, short_training(workers=1), DecodeSettings(), CPU, folder))
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_is_gone_is_named_in_one_line(tmp_path, small_settings, workers):
    squares = make_squares(tmp_path)
    (tmp_path / "3.png").unlink()
    model, settings = RetinaNet(small_settings, 1), short_training(workers=workers)
    with pytest.raises(PictureError) as caught:
        list(fit(model, squares, squares, tmp_path, settings, DecodeSettings(), CPU, tmp_path))
    assert str(caught.value) == f"{tmp_path / '3.png'}: there is no such file"


def test_a_program_that_fails_ends_though_workers_run(tmp_path):
    program = [sys.executable, "-c", PROGRAM.format(folder=str(tmp_path))]
    ended = subprocess.run(program, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stderr.endswith(f"PictureError: {tmp_path / '3.png'}: there is no such file\n")
