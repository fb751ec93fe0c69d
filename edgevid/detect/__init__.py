"""Objects in frames: preprocessing, the model, decoding, duplicates suppressed."""
