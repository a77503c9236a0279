"""Rows from text files: what stands in a file is what is read, and a fault is named by its place and cause."""
