"""From images to detections, whatever runtime runs the network."""
