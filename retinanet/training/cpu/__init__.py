"""Convolutions that make training faster on a CPU."""
