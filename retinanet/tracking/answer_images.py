"""A program of its own: ask one version of the model about images.

Reads {"model": folder, "images": [path, ...]} on stdin, writes one answer a line on stdout. It is run by its path
and imports nothing of this package: a version brings the package as it was, and two can't live in one process.
"""

import base64
import json
import logging
import sys
from pathlib import Path

import mlflow
import pandas as pd

IMAGES_AT_ONCE = 8


def main() -> None:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    asked = json.load(sys.stdin)
    model = mlflow.pyfunc.load_model(asked["model"])
    images = asked["images"]
    for start in range(0, len(images), IMAGES_AT_ONCE):
        rows = [base64.b64encode(Path(p).read_bytes()).decode() for p in images[start : start + IMAGES_AT_ONCE]]
        for answer in model.predict(pd.DataFrame({"image": rows})).to_dict("records"):
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
