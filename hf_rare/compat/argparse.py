"""Private names of argparse: the arguments of a parser."""

import argparse


def arguments_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """List the arguments of a parser, those of its groups too: `ArgumentParser._actions`, as of Python 3.11.7."""
    return list(parser._actions)
