"""Keys and values of the rows that are being written."""
