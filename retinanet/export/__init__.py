"""The network as ONNX, and the gate that holds it against PyTorch."""
