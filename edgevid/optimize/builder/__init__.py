"""TensorRT engines, verified against the ONNX model."""
