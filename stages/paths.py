"""Every path of the pipeline. The package gets them as arguments."""

from pathlib import Path

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")
STUDIES = Path("sweeps.db")

# Caches; not outputs of DVC stages.
CACHE = Path(".cache")
DOWNLOAD_CACHE = CACHE / "downloads"
IMAGE_CACHE = CACHE / "images"
CHECKPOINTS = CACHE / "training"

# download
RAW = Path("data/raw")
WEIGHTS = Path("data/weights")

# prepare
PREPARED = Path("data/prepared")
IMAGE_INDEX = PREPARED / "index.json"
DECISIONS = PREPARED / "decisions.json"
PREPARE_REPORT = Path("reports/prepare")
FINDINGS = PREPARE_REPORT / "findings.json"
SPLITS = {split: PREPARED / f"{split}.json" for split in ("train", "val", "test")}
TRAIN_JSON, VAL_JSON, TEST_JSON = SPLITS.values()

# data-report
DATA_REPORT = Path("reports/data")
DATA_STATISTICS = DATA_REPORT / "statistics.json"

# train
TRAINED = Path("models/trained.safetensors")
RUN = Path("models/run.json")
TRAIN_REPORT = Path("reports/train")
TRAINING_RECORD = TRAIN_REPORT / "record.json"
SBOM = TRAIN_REPORT / "sbom.json"

# evaluate
MODEL = Path("models/model.safetensors")
EVALUATION = Path("reports/evaluate")
METRICS = EVALUATION / "metrics.json"
DETECTIONS = EVALUATION / "detections.json"
MATCHES = EVALUATION / "matches.npz"
OPERATING_POINTS = EVALUATION / "operating_points.csv"
EVALUATION_DIGEST = EVALUATION / "evaluation.json"

# export
MODEL_CARD = Path("reports/model_card.md")
EXPORT = Path("models/export")
EXPORT_REPORT = Path("reports/export.json")
EXPORT_TABLE = Path("reports/export/runtimes.csv")
EXPORT_SPEED = Path("reports/export/speed.json")
VERSION_RECORD = Path("models/record")
REGISTERED = Path("models/registered.json")
DISAGREEMENTS = Path("reports/disagreements.html")  # not an output of the stage

# gradcam-report
GRADCAM_REPORT = Path("reports/gradcam")
GRADCAM_METRICS = GRADCAM_REPORT / "metrics.json"
