"""The service `retinanet serve`: images in over HTTP, detections out, from a model that follows its alias."""
