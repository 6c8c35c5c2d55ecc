"""Prepared data as training and evaluation read it."""
