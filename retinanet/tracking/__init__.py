"""MLflow: runs, registered versions, the served model."""
