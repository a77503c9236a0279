"""`python -m hf_rare` is the command line."""

import sys

from hf_rare.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
