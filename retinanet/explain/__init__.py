"""Visual explanations of detections: HiResCAM heat maps and their report."""
