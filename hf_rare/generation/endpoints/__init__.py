"""How a model behind an address is asked: requests and what comes back, what goes wrong, and how many at a time."""
