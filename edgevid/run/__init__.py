"""The loop around the pipeline: summary, watchdog, signals."""
