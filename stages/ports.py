"""A port as people give it at the command line."""

from argparse import ArgumentTypeError


def port_number(text: str) -> int:
    """For argparse's `type`: 1 to 65535."""
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise ArgumentTypeError(f"expected a port number between 1 and 65535, found {text!r}")
    return int(text)
