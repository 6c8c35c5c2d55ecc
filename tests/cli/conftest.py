from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def two_images(tmp_path, monkeypatch) -> Path:
    """The working directory, with a.png and more/a.png of 20 x 10 px."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "more/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 10)).save(name)
    return tmp_path
