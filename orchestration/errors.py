"""How a command ends: exit codes, and the error whose message says all there is to say."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every verb."""

    WELL = 0
    DISAGREES = 1
    USAGE = 2
    INTERRUPTED = 130


class CommandError(Exception):
    """The command cannot go on. The message is shown as one line, without a traceback."""

    def __init__(self, message: str, exit_code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code
