"""Audio features, audio to expression (ONNX), and the performance of a dub."""
