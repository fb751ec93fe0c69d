"""Measured quality: metrics, and the tuning of thresholds."""
