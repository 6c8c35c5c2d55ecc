"""Search for settings with Optuna: `retinanet sweep`."""
