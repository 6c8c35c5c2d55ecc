"""Settings of the pipeline: params.yaml, its types, and presets of other implementations."""
