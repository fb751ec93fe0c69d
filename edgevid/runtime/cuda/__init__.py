"""CUDA behind one small interface."""
