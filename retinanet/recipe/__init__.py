"""Settings that fit a dataset and a machine, for `retinanet init`."""
