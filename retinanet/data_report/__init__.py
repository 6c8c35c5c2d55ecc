"""What is in the data, and whether the detector can learn it: figures and a page for people."""
