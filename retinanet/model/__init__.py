"""The network with its anchors, box coding, decoding and weights files."""
