"""The dataset card: made from rows and recipe, and merged into what people have written."""
