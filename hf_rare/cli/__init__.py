"""The command line `hf-rare`: a thin layer over the library."""
