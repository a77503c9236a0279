"""Other libraries' private names that are used here: one module a library, each with the version it was seen with."""
