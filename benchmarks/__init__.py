"""Benchmarks against other implementations, and searches over params. OpenMP is set as in the stages."""

from retinanet.threads import wait_without_spinning

wait_without_spinning()
