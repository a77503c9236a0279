"""Other libraries' private names that are used here, each with the version that it was seen with."""
