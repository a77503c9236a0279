"""What people look at: rows in a notebook, and plots."""
