"""Audio features, audio to expression (ONNX), A/V offset."""
