"""Read a pickle without running it: plain values are built, every call that it asks for is answered by the caller, and nothing else can happen.

A pickle is a program for a small machine. This is such a machine with the instructions that protocols 2 to 5 write, no imports, no attributes and no
hashing of what the file made up. An instruction takes time and memory in proportion to the bytes it stands for, and there may be only so many of
them: a file of a hundred bytes can claim neither an hour nor a gigabyte. The instructions are those of the standard library's `pickletools`.
"""

import io
import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import Any

_MOST_INSTRUCTIONS = 500_000
_SHOWN = 100  # characters of a name that the file brings along

# What answers a call: its arguments as one tuple, which may be of any length.
Answer = Callable[[tuple[Any, ...]], Any]


class PickleError(Exception):
    """The bytes are no pickle, or one that asks for more than plain values and the answers that the caller has."""


_OPERATIONS: dict[str, Any] = {operation.code: operation for operation in pickletools.opcodes}


class Unused:
    """What stands for values that are read and not kept, such as sets; a pickle can neither call nor change it."""

    __slots__ = ()


UNUSED = Unused()


class _Callable:
    """A name that the file may call and nothing else."""

    __slots__ = ("answer",)

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def read_pickle(
    stream: io.BytesIO, answers: Mapping[tuple[str, str], Any], *, persistent: Answer | None = None, most_instructions: int = _MOST_INSTRUCTIONS
) -> Any:
    """The value of the pickle that begins where `stream` stands; afterwards it stands behind it. Raises PickleError.

    answers: what the file may name, by module and name: functions of one tuple for what it calls, None for what is UNUSED whether called or not, and
    any other value for itself. persistent: answers references to objects outside the file. Dictionaries keep what has a string for its key; sets are
    UNUSED. Lists and dictionaries may hold themselves.
    """
    machine = _Machine(answers, persistent)
    try:
        for _ in range(most_instructions):
            if machine.step(stream):
                return machine.stack.pop()
    except PickleError:
        raise
    except (ArithmeticError, AttributeError, EOFError, LookupError, struct.error, TypeError, ValueError) as error:
        raise PickleError(f"not a readable pickle ({type(error).__name__}: {' '.join(str(error)[:200].split())})") from None
    raise PickleError(f"more than {most_instructions:,} instructions; no network's weights take so many")


class _Machine:
    """A stack, the places on it where a group of values begins, and what the file wants to come back to by number."""

    def __init__(self, answers: Mapping[tuple[str, str], Any], persistent: Answer | None) -> None:
        self.answers, self.persistent = answers, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, stream: io.BytesIO) -> bool:
        """Whether that was the last instruction."""
        code = stream.read(1)
        if not code:
            raise PickleError("not a readable pickle (it is cut short)")
        operation = _OPERATIONS.get(code.decode("latin-1"))
        if operation is not None and operation.name == "STOP":
            return True
        if operation is None or operation.name not in _INSTRUCTIONS:
            raise PickleError(f"not a readable pickle (instruction {operation.name if operation is not None else code.hex()})")
        # Only now is the argument read: text that protocol 0 writes for numbers never is. A length is no more than what there is to read.
        argument = operation.arg.reader(stream) if operation.arg is not None else None
        _INSTRUCTIONS[operation.name](self, argument)
        return False

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def group(self) -> list[Any]:
        """The values since the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def pop(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise ValueError(f"{len(self.stack)} values on the stack, expected {count}")
        start = len(self.stack) - count
        self.stack[start:] = [tuple(self.stack[start:])]

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError("appends to what is no list")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise TypeError("sets items of what is no dictionary")
        # The hash of a tuple takes as long as the tuple is deep, and numbers can be chosen so that all have the same; strings can do neither.
        target.update((key, value) for key, value in zip(values[::2], values[1::2], strict=True) if type(key) is str)

    def dictionary(self, values: list[Any]) -> None:
        self.push({})
        self.set_items(values)

    def frozen_set(self) -> None:
        self.group()
        self.push(UNUSED)

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str or (module, name) not in self.answers:
            shown = f"{module}.{name}"[:_SHOWN] if type(module) is str and type(name) is str else "something without a name"
            raise PickleError(f"it asks for {shown}, which reading weights does not need; nothing was run")
        answer = self.answers[module, name]
        self.push(_Callable(answer) if callable(answer) else UNUSED if answer is None else answer)

    def call(self) -> None:
        arguments, target = self.stack.pop(), self.stack.pop()
        if target is UNUSED:
            self.push(UNUSED)
        elif type(target) is _Callable and type(arguments) is tuple:
            self.push(target.answer(arguments))
        else:
            raise PickleError("it calls what cannot be called; nothing was run")

    def build(self) -> None:
        self.stack.pop()
        # The state of a dictionary or of an unused value is of no use; everything else has none.
        if type(self.stack[-1]) not in (dict, Unused):
            raise PickleError("it tries to change what it has no business with; nothing was run")

    def refer(self) -> None:
        if self.persistent is None:
            raise PickleError("it refers to an object outside the file")
        reference = self.stack.pop()
        if type(reference) is not tuple:
            raise PickleError("it refers to an object outside the file by something else than a tuple")
        self.push(self.persistent(reference))

    def read_global(self, names: str) -> None:
        module, _, name = names.partition(" ")
        self.name(module, name)

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)


_Instruction = Callable[[_Machine, Any], Any]


def _pushes(value: Any) -> _Instruction:
    return lambda machine, _: machine.push(value)


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_ARGUMENTS = (
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINSTRING", "BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
)  # fmt: skip
_INSTRUCTIONS: dict[str, _Instruction] = {
    **{name: _pushes(value) for name, value in _CONSTANTS.items()},
    **dict.fromkeys(_ARGUMENTS, _Machine.push),
    **{name: (lambda machine, _: None) for name in ("PROTO", "FRAME")},
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(UNUSED),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.group(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    "LIST": lambda machine, _: machine.push(machine.group()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.group())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "DICT": lambda machine, _: machine.dictionary(machine.group()),
    "FROZENSET": lambda machine, _: machine.frozen_set(),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.group()),
    "ADDITEMS": lambda machine, _: machine.group(),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(), machine.stack.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.group()),
    **{name: (lambda machine, place: machine.memo.__setitem__(place, machine.stack[-1])) for name in ("BINPUT", "LONG_BINPUT")},
    "MEMOIZE": lambda machine, _: machine.memo.__setitem__(len(machine.memo), machine.stack[-1]),
    **{name: (lambda machine, place: machine.push(machine.memo[place])) for name in ("BINGET", "LONG_BINGET")},
    "GLOBAL": _Machine.read_global,
    "STACK_GLOBAL": lambda machine, _: machine.stack_global(),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.refer(),
}
