"""A rendered street and its truth."""
