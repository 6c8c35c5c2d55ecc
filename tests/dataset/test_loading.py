import subprocess
import sys
from pathlib import Path

import pytest
from support.squares import build_network, fit_squares, make_squares

from retinanet.errors import ImageError

PROGRAM = """
from pathlib import Path
from support.squares import build_network, fit_squares, make_squares, small_network

folder = Path({folder!r})
squares = make_squares(folder)
(folder / "3.png").unlink()
model = build_network(small_network(), 1)
list(fit_squares(model, squares, folder, folder, workers=1))
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_missing_image_fails_with_one_line(tmp_path, small_settings, workers):
    squares = make_squares(tmp_path)
    (tmp_path / "3.png").unlink()
    model = build_network(small_settings, 1)
    with pytest.raises(ImageError) as caught:
        list(fit_squares(model, squares, tmp_path, tmp_path, workers=workers))
    assert str(caught.value) == f"{tmp_path / '3.png'}: no such file"


def test_failed_program_ends_while_workers_run(tmp_path):
    program = [sys.executable, "-c", PROGRAM.format(folder=str(tmp_path))]
    ended = subprocess.run(program, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stderr.endswith(f"ImageError: {tmp_path / '3.png'}: no such file\n")
