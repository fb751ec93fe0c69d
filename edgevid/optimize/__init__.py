"""From an ONNX model to one that is smaller and faster and still agrees: quantize, build, compare, export, estimate, bench."""
