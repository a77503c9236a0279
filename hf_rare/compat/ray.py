"""Private names of Ray: loggers."""

PROGRESS_LOGGER = "ray.data._internal.progress"
"""The logger that warns of progress bars, as of Ray 2.60.0. Where it is gone, its warnings are seen, and no more."""
