"""A row, its columns, the containers that hold rows, and what they look like in numbers."""
