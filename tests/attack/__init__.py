"""What is done to the library on purpose, many times over: `make attack` prints what came of it."""
