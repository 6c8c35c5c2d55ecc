"""The training loop; it yields epochs and knows nothing of MLflow."""
