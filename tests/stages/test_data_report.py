from PIL import Image
from support.prepare_workspace import pixels, write_csv


def test_anchors_that_reach_few_objects_give_a_warning_with_better_ones(workspace):
    """Boxes of 4 px in images 640 px wide, which the default's 32 px anchors cannot reach."""
    objects = {f"p{n:03}.png": [("dot", (100 + n, 100, 104 + n, 104))] for n in range(20)}
    write_csv(workspace.raw, objects)
    for number, name in enumerate(objects):
        Image.fromarray(pixels(number, 640, 480)).save(workspace.raw / "images" / name)
    workspace.succeeds()
    output = workspace.report()
    assert "warning: anchors reach few objects with IoU 0.5 at the training size: 0% of" in output
    assert "dot (median 4 x 4 px)" in output and "% of them, not 0% (`retinanet fit-anchors --write`)" in output
    coverage = workspace.statistics()["anchor_coverage"]
    assert coverage["classes"]["dot"]["IoU 0.5"] == 0
    assert coverage["proposal"]["anchors"]["sizes"][0] < 10
    assert "Check before training" in (workspace.folder / "reports/data/index.html").read_text()
    workspace.change_section("data_report", min_coverage=0.0)
    workspace.succeeds()
    assert "warning: anchors" not in workspace.report()
