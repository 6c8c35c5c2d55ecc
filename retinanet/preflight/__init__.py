"""Checks of data and network before training."""
