"""Training of image classifiers (extra `train`)."""
