"""MLflow: runs, registered versions and the served model."""
