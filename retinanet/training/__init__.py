"""The training loop; it yields epochs and does not use MLflow."""
