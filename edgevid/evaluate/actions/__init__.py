"""Recognizers on labeled data."""
