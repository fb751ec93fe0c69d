"""Thresholds of the abstain policy, chosen on labeled tracks."""
