"""How good a detector is, in COCO's figures and in curves."""
