"""Measured speeds against true ones."""
