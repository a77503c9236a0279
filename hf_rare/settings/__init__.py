"""What people set: frozen dataclasses, checked when they are made. Their docstrings are the reference and the help."""
