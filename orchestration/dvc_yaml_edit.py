"""Change one list of one stage in the text of dvc.yaml, and nothing else: comments, order, quotes and line breaks stay as their author left them.

The text is parsed for positions only; edits are spliced into it. (Re-emitting the whole file would move comments and rejoin folded lines.)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Edit:
    """Replace the characters [start, end) of the text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class StageText:
    """Where one stage stands in the text: `body` is the YAML mapping node with its cmd, deps and outs (below `do` for a foreach stage)."""

    name: str
    body: Any

    def value(self, key: str) -> Any:
        """The YAML node under `key`, or None."""
        return next((value for name, value in self.body.value if name.value == key), None)

    def plain(self, key: str) -> Any:
        """The value under `key` as plain data, or None."""
        node = self.value(key)
        return None if node is None else _plain(node)


def stages_in(text: str) -> list[StageText]:
    """Every stage of the dvc.yaml `text`, in order. Raises ruamel.yaml's YAMLError where it cannot be parsed."""
    from ruamel.yaml import YAML

    top = YAML(typ="safe", pure=True).compose(text)
    stages = next((value for key, value in _pairs(top) if key.value == "stages"), None)
    found = []
    for key, node in _pairs(stages):
        body = next((value for name, value in _pairs(node) if name.value == "do"), node)
        if _is_mapping(body):
            found.append(StageText(key.value, body))
    return found


def replace_items(text: str, stage: StageText, key: str, is_ours: Callable[[Any], bool], wanted: Sequence[str]) -> str:
    """`text` with `wanted` (YAML source, e.g. `a/b.py` or `libraries.yaml: [numpy]`) as our items of the list `key` of `stage`.

    is_ours: tells, from an item's plain value, the items that are ours to replace; all others stay as they are.
    A list that does not exist is made, one that would be left empty goes with its key.
    """
    for edit in sorted(_edits(text, stage, key, is_ours, wanted), key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _edits(text: str, stage: StageText, key: str, is_ours: Callable[[Any], bool], wanted: Sequence[str]) -> list[Edit]:
    node = stage.value(key)
    if node is None:
        return [_new_list(text, stage, key, wanted)] if wanted else []
    others = [item for item in node.value if not is_ours(_plain(item))]
    if not others and not wanted:
        return [_remove_key(text, stage, key, node)]
    if node.flow_style:
        return [_flow_list(text, node, others, wanted)]
    return _block_list(text, node, is_ours, wanted)


def _block_list(text: str, node: Any, is_ours: Callable[[Any], bool], wanted: Sequence[str]) -> list[Edit]:
    ours = [item for item in node.value if is_ours(_plain(item))]
    indent = " " * node.start_mark.column
    # An item that stays keeps its line, with the comment its author put behind it.
    lines = {_source(text, item): _lines_of(text, item) for item in ours}
    block = "".join(lines.get(item, f"{indent}- {item}\n") for item in wanted)
    edits = [Edit(*_line_span(text, item), "") for item in ours]
    if ours:
        return [Edit(edits[0].start, edits[0].end, block), *edits[1:]]
    end = _line_span(text, node.value[-1])[1]
    return [Edit(end, end, block if text[:end].endswith("\n") else "\n" + block)]


def _flow_list(text: str, node: Any, others: Sequence[Any], wanted: Sequence[str]) -> Edit:
    items = [_source(text, item) for item in others] + [f"{{{item}}}" if ": " in item else item for item in wanted]
    return Edit(node.start_mark.index, node.end_mark.index, f"[{', '.join(items)}]")


def _new_list(text: str, stage: StageText, key: str, wanted: Sequence[str]) -> Edit:
    """The list goes where DVC's own documentation has it: after cmd, wdir and deps, before everything else."""
    names = [name for name, _ in stage.body.value]
    earlier = ("cmd", "wdir", "desc", "vars", "matrix", "deps")
    following = max((index for index, name in enumerate(names) if name.value in earlier), default=-1) + 1
    if following < len(names):
        start = _line_start(text, names[following].start_mark.index)
    else:
        start = _line_span(text, stage.body.value[-1][1])[1]
    indent = " " * names[0].start_mark.column
    block = f"{indent}{key}:\n" + "".join(f"{indent}  - {item}\n" for item in wanted)
    return Edit(start, start, block if text[:start].endswith("\n") else "\n" + block)


def _remove_key(text: str, stage: StageText, key: str, node: Any) -> Edit:
    name = next(name for name, _ in stage.body.value if name.value == key)
    return Edit(_line_start(text, name.start_mark.index), _line_span(text, node)[1], "")


def _line_span(text: str, node: Any) -> tuple[int, int]:
    """The characters of the whole lines that `node` stands on."""
    newline = text.find("\n", _last_index(text, node))
    return _line_start(text, node.start_mark.index), len(text) if newline < 0 else newline + 1


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _lines_of(text: str, node: Any) -> str:
    start, end = _line_span(text, node)
    return text[start:end] if text[start:end].endswith("\n") else text[start:end] + "\n"


def _last_index(text: str, node: Any) -> int:
    """The position of the last character of `node`. (A block's own end mark lies after the blank lines and comments that follow it.)"""
    if getattr(node, "flow_style", None) or not isinstance(node.value, list) or not node.value:
        return node.start_mark.index + max(0, len(text[node.start_mark.index : node.end_mark.index].rstrip()) - 1)
    last = node.value[-1]
    return _last_index(text, last[1] if isinstance(last, tuple) else last)


def _source(text: str, node: Any) -> str:
    return text[node.start_mark.index : _last_index(text, node) + 1]


def _plain(node: Any) -> Any:
    if _is_mapping(node):
        return {key.value: _plain(value) for key, value in node.value}
    return [_plain(item) for item in node.value] if isinstance(node.value, list) else node.value


def _is_mapping(node: Any) -> bool:
    return node is not None and node.id == "mapping"


def _pairs(node: Any) -> Iterator[tuple[Any, Any]]:
    return iter(node.value) if _is_mapping(node) else iter(())
