"""Fetching and unpacking data sources."""
