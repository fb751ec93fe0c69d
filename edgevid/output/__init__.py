"""What leaves the pipeline: overlay, records, segments, review crops."""
