"""Accuracy of action recognition on labeled data."""
