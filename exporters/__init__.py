"""Torch to ONNX, with parity checks."""
