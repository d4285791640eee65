"""A reader for `stages.bounded` that does what its items say."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from stages.bounded import RefusedError


def open_misreader(settings: dict[str, Any]) -> Callable[[list], Any]:
    """Items are [what to do, an argument]."""

    def read(item: list) -> Any:
        what, argument = item
        if what == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif what == "fill":
            return len(bytearray(argument << 20))
        elif what == "spin":
            while True:
                pass
        elif what == "sleep":
            time.sleep(argument)
        elif what == "refuse":
            raise RefusedError("odd", "an odd one")
        elif what == "defect":
            raise KeyError(argument)
        elif what == "print":
            print(argument)
        return [settings["name"], argument, os.getppid()]

    return read
