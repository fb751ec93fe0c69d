"""ONNX Runtime behind the Engine protocol."""
