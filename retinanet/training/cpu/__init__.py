"""Convolution kernels that make training faster on a CPU."""
