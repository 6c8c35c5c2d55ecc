"""Checks of data and model before training starts."""
