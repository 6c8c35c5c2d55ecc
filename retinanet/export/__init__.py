"""Exported models: the runtimes, and the comparison with PyTorch that an export must pass."""
