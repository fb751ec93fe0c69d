"""Command-line tools: quantize, build, compare, evaluate, bench, export, models."""
