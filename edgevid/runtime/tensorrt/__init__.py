"""TensorRT behind the Engine protocol."""
