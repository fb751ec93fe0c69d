"""Smaller and faster models that agree with the original: quantize, build, compare, bench, estimate."""
