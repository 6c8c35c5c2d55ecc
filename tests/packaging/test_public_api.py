import subprocess
import sys

import pytest

import retinanet

LIBRARIES = {"torch", "numpy", "cv2", "PIL", "onnxruntime", "pydantic", "yaml", "mlflow", "dvc"}


def imported_by(code: str) -> set[str]:
    """The libraries of LIBRARIES that a fresh interpreter has imported after running the code."""
    program = f"import sys; {code}; print(*({LIBRARIES!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", retinanet.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(retinanet, name) is not None
    assert name in dir(retinanet)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'retinanet' has no attribute 'load_model'"):
        _ = retinanet.load_model


def test_importing_the_package_imports_no_library():
    assert imported_by("import retinanet; retinanet.__version__") == set()


def test_load_detector_imports_neither_torch_nor_pipeline_libraries():
    assert imported_by("from retinanet import load_detector, Detector, Detections, read_image") <= {
        "numpy",
        "cv2",
        "PIL",
        "onnxruntime",
    }


def test_submodules_can_still_be_imported_from_the_package():
    assert imported_by("from retinanet import errors; errors.RetinanetError") == set()
