"""YAML front matter: the facts between the two lines `---` that begin a Markdown file, and the Markdown below."""

import re
from typing import Any

import yaml

_FENCED = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"^([A-Za-z][\w-]{0,60}):[ \t]+(\S.*)$", re.MULTILINE | re.ASCII)
_MOST_CHARACTERS = 65_536
_MOST_BRACKETS = 500


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """(facts, the rest). Facts are empty where the text begins otherwise. All scalars are texts, as written."""
    found = _FENCED.match(text)
    if found is None:
        return {}, text
    return yaml_facts(found[1]), text[found.end() :]


def yaml_facts(text: str) -> dict[str, Any]:
    """The mapping a YAML text holds; of one that is not valid YAML, the lines `key: value` of its top level."""
    text = text[:_MOST_CHARACTERS]
    value = _loaded(text)
    if value is None:
        return {match[1]: match[2].strip().strip("\"'") for match in _LINE.finditer(text)}
    return {str(key): entry for key, entry in value.items()} if isinstance(value, dict) else {}


def _loaded(text: str) -> Any:
    """The value of a YAML text; None where it is not valid, or a trap: the loader's time grows with the square of brackets that stay open."""
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        return None
    try:
        # The base loader makes texts, lists and mappings only, and follows no merge keys, so nothing runs and nothing multiplies.
        # Not its C twin: that one ends the whole process where brackets nest a few ten thousand deep.
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def text_fact(facts: dict[str, Any], *keys: str) -> str:
    """The first of these facts that is a text."""
    return next((value for key in keys if isinstance(value := facts.get(key), str) and value.strip()), "")
