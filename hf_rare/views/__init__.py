"""What people look at: rows in a notebook, plots, and a page about a dataset."""
