"""Recognizers on labelled data."""
