"""Thresholds of the abstain policy, chosen by evidence."""
