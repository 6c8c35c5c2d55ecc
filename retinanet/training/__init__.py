"""The loop that fits a network; knows nothing of MLflow."""
