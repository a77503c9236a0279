"""Hard negatives and documents for questions: what is searched, and what may not be found."""
