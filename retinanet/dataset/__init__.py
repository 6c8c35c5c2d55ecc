"""Prepared data, read for training and evaluation."""
