import pytest
from support.tool_layouts import CORNERS, LAYOUTS, write_layout

from retinanet.annotations.formats import read_source


@pytest.mark.parametrize("tool", LAYOUTS)
def test_the_layout_of_each_tool_is_read_with_its_splits(tmp_path, tool):
    layout = LAYOUTS[tool]
    write_layout(tmp_path, layout)
    source = read_source(tmp_path)
    assert source.format == layout.format
    assert source.skipped == []
    found = {image.file: image for image in source.images}
    assert found.keys() == {tmp_path / name for name in layout.images}
    for name, split in zip(layout.images, layout.splits, strict=True):
        image = found[tmp_path / name]
        assert image.split == split
        assert [(box.class_name, box.xyxy) for box in image.boxes] == [("cat", CORNERS)]
