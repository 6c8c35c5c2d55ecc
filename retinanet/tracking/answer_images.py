"""Program that detects objects in images with one registered version.

Reads {"model": folder, "images": [path, ...]} on stdin and writes one JSON line per image on stdout. It is run by its
path and imports nothing of this package: a version brings its own copy, and one process cannot hold two.
"""

import base64
import json
import logging
import sys
from pathlib import Path

import mlflow
import pandas as pd

BATCH_SIZE = 8
ALL = {"score_threshold": 0.0}  # AP needs the detections below the operating point too


def main() -> None:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    request = json.load(sys.stdin)
    model = mlflow.pyfunc.load_model(request["model"])
    images = request["images"]
    for start in range(0, len(images), BATCH_SIZE):
        rows = [base64.b64encode(Path(p).read_bytes()).decode() for p in images[start : start + BATCH_SIZE]]
        for answer in model.predict(pd.DataFrame({"image": rows}), params=ALL).to_dict("records"):
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
