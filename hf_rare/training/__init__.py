"""What trainers read: the rows of TRL and of sentence-transformers."""
