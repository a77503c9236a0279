"""A distilled dataset as one page: what to worry about, numbers that filter, and the rows themselves."""
