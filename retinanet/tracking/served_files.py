"""The files of a registered version: a pyfunc without pickles, which MLflow serves, and the version's record."""

import shutil
import warnings
from importlib.metadata import version as installed
from pathlib import Path

import retinanet
from retinanet.export.runtimes import exported_runtime

PACKAGE = Path(retinanet.__file__).parent
# In addition to the requirements of the exported model's runtime.
SERVED_WITH = ("mlflow", "numpy", "opencv-python-headless", "pandas", "pillow")
RECORD = "record"  # the folder of retinanet.tracking.version_record


def write_served_files(
    path: Path, exported: Path, record: Path | None, folder: Path, run_id: str, model_id: str
) -> None:
    """Write a pyfunc without pickles: the exported model, the package's source, and the module that loads them.

    record is a folder to store with them, and `folder` is for temporary files.
    """
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array

    # The folder, because a runtime may write more files beside its model.
    artifacts = {"exported": str(shutil.copytree(exported, folder / "exported"))}
    code = folder / "retinanet"
    shutil.copytree(PACKAGE, code, ignore=shutil.ignore_patterns("__pycache__"))
    numbers = Array(DataType.double)
    signature = ModelSignature(
        # Any type, so that the model answers a number with an error in its row; MLflow would reject the whole request.
        inputs=Schema([ColSpec(AnyType(), "image", required=False)]),
        outputs=Schema(
            [
                ColSpec(Array(numbers), "boxes"),
                ColSpec(numbers, "scores"),
                ColSpec(Array(DataType.string), "labels"),
                ColSpec(DataType.string, "error", required=False),
            ]
        ),
        params=ParamSchema([ParamSpec("score_threshold", DataType.double, None)]),
    )
    with warnings.catch_warnings():
        # MLflow warns that there is no input example; the signature above is explicit.
        warnings.simplefilter("ignore", UserWarning)
        mlflow.pyfunc.save_model(
            path,
            python_model=str(PACKAGE / "tracking" / "served_model.py"),
            artifacts=artifacts,
            code_paths=[str(code)],
            signature=signature,
            pip_requirements=[
                f"{name}=={installed(name)}" for name in (*SERVED_WITH, *exported_runtime(exported).requirements)
            ],
            mlflow_model=Model(run_id=run_id, model_id=model_id),
        )
    if record:
        shutil.copytree(record, path / RECORD)
