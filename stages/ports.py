"""Ports: as people give them at the command line, and one that is free."""

import socket
from argparse import ArgumentTypeError


def port_number(text: str) -> int:
    """For argparse's `type`: 1 to 65535."""
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise ArgumentTypeError(f"expected a port number between 1 and 65535, found {text!r}")
    return int(text)


def free_port(host: str = "127.0.0.1") -> int:
    """A port of `host` that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
