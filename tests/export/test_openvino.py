import subprocess
import sys

import pytest

from retinanet.errors import WeightsError
from retinanet.export import openvino
from retinanet.export.gate import compare, require_agreement
from retinanet.export.runtimes import load_detector
from retinanet.inference.network import torch_detector

# The process that has the ONNX file for all tests.
pytestmark = pytest.mark.xdist_group("onnx")


@pytest.fixture(scope="module")
def written(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("openvino") / "openvino.xml"
    openvino.write(path, source)
    return path


def in_float32(path, monkeypatch):
    monkeypatch.setattr(openvino, "float_precision", lambda: "fp32")
    return load_detector(path)


@pytest.mark.parametrize(
    "shapes",
    [
        [(60, 80)],
        [(60, 80)] * 3,
        [(90, 50), (20, 200)],
        [(1, 1)],
        [(3, 2000)],
        [(300, 250)],  # cut into tiles
    ],
    ids=str,
)
def test_float32_agrees_with_pytorch(written, source, settings, noise, monkeypatch, shapes):
    trained, exported = torch_detector(source.trained, settings), in_float32(written, monkeypatch)
    agreement = compare(trained, exported, noise(*shapes), score_tolerance=1e-3)
    assert agreement.detections > 20
    require_agreement(agreement, min_matched=0.99, min_iou=0.99, score_tolerance=1e-3)


def test_80_classes(source_of_80_classes, settings, noise, monkeypatch, tmp_path):
    openvino.write(tmp_path / "openvino.xml", source_of_80_classes)
    trained = torch_detector(source_of_80_classes.trained, settings)
    agreement = compare(trained, in_float32(tmp_path / "openvino.xml", monkeypatch), noise((60, 80)), 1e-3)
    require_agreement(agreement, min_matched=0.99, min_iou=0.99, score_tolerance=1e-3)


def test_this_processors_precision_finds_most_of_pytorchs_detections(written, source, settings, noise):
    agreement = compare(torch_detector(source.trained, settings), load_detector(written), noise((60, 80), (90, 50)), 1)
    assert agreement.matched_share > 0.8 and agreement.min_iou > 0.8


def test_the_file_has_classes_thresholds_and_sizes(written, network):
    detector = load_detector(written)
    assert (detector.class_names, detector.category_ids) == (network.class_names, network.category_ids)
    assert (detector.input_size, detector.tiling) == (network.input_size, network.tiling)
    assert detector.thresholds == network.thresholds


def test_the_same_model_gives_the_same_bytes(written, source, tmp_path):
    again = tmp_path / written.name
    openvino.write(again, source)
    for suffix in (".xml", ".bin"):
        assert again.with_suffix(suffix).read_bytes() == written.with_suffix(suffix).read_bytes()


def test_damaged_and_foreign_files_are_named(written, tmp_path):
    (tmp_path / "cut.xml").write_bytes(written.read_bytes()[:1000])
    (tmp_path / "other.xml").write_text("<net/>")
    for name in ("cut.xml", "other.xml"):
        with pytest.raises(WeightsError, match=f"{name} was not written by `dvc repro export`, or is damaged"):
            load_detector(tmp_path / name)
    with pytest.raises(WeightsError, match=r"missing.xml does not exist"):
        load_detector(tmp_path / "missing.xml")


def test_without_openvino_the_message_names_the_extra(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(WeightsError, match=r"needs openvino, .* run pip install 'retinanet\[openvino\]'"):
        load_detector(written)


def test_opening_imports_neither_torch_nor_nncf_nor_onnxruntime(written):
    code = (
        "import sys; from retinanet import load_detector; load_detector(sys.argv[1]);"
        "print({'torch', 'nncf', 'onnxruntime', 'mlflow'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code, written], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("name", "capabilities", "amx", "expected"),
    [
        ("AMD EPYC", ["BF16", "FP32"], False, "bf16"),
        ("Intel(R) Xeon(R)", ["BF16", "FP32"], True, "bf16"),
        ("Intel(R) Xeon(R)", ["BF16", "FP32"], False, "fp32"),  # slower than float32
        ("AMD EPYC", ["FP32"], False, "fp32"),
    ],
)
def test_float_weights_are_computed_in_bf16_if_the_processor_is_faster_in_it(
    monkeypatch, name, capabilities, amx, expected
):
    properties = {"FULL_DEVICE_NAME": name, "OPTIMIZATION_CAPABILITIES": capabilities}
    monkeypatch.setattr("openvino.Core.get_property", lambda core, device, key: properties[key])
    monkeypatch.setattr(openvino, "_has_amx", lambda: amx)
    assert openvino.float_precision() == expected


def test_the_network_is_compiled_for_the_first_input_sizes_and_once_for_all_others(written, noise, monkeypatch):
    import openvino as library

    compiled, compile_model = [], library.Core.compile_model

    def noted(core, model, *args):
        compiled.append(str(model.input("images").partial_shape))
        return compile_model(core, model, *args)

    monkeypatch.setattr(library.Core, "compile_model", noted)
    monkeypatch.setattr(openvino, "MAX_COMPILED", 2)
    detector = load_detector(written)
    for shapes in ([(60, 80)], [(60, 80)] * 3, [(90, 50)], [(60, 80)], [(80, 60)], [(20, 200)], [(60, 80)]):
        detector(noise(*shapes))
    assert compiled == ["[1,96,128,3]", "[1,160,96,3]", "[1,?,?,3]"]
