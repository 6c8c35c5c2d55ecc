"""The network, its anchors, losses and decoding; torch only."""
