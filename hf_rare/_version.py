"""The version, which packaging, recipes and cards read."""

__version__ = "0.1.0"
