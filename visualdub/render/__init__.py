"""Neural renderer runtime (ONNX Runtime), compositing, watermark and provenance."""
