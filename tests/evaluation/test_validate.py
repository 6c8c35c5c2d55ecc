from support.squares import INPUT_SIZE, build_network, make_squares

from retinanet.evaluation.validate import validate
from retinanet.inference.detections import DecodeSettings


def test_validate_returns_losses_and_boxes_in_pixels_of_the_original_image(tmp_path, small_settings):
    squares = make_squares(tmp_path)
    settings = DecodeSettings(0.0, 0.5, 1000, 300)
    found = validate(build_network(small_settings, 1), squares, tmp_path, INPUT_SIZE, settings, workers=0)
    assert found.classification_loss > 0 and found.box_loss > 0
    assert {row["image_id"] for row in found.results} == set(range(1, 9))
    assert all(row["bbox"][0] + row["bbox"][2] <= 96.01 for row in found.results)
