"""RetinaNet as an MLOps pipeline."""
