"""Training and robustness (extra: train)."""
