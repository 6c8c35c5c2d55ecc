"""The conventions of RetinaNet's main implementations, as parts of params.yaml."""
