"""The command `retinanet`."""
