"""The header of a card as Hugging Face reads it: YAML before the Markdown of a README.md, with the values that its index knows."""

from collections.abc import Iterable, Mapping, Sequence

# Identifiers that a header may name; everything else is `other`, and the card below it says which.
_CREATIVE_COMMONS = ("2.0", "3.0", "4.0", "nc-4.0", "nc-nd-4.0", "nc-sa-4.0", "nd-4.0", "sa-3.0", "sa-4.0")
_KNOWN_LICENCES = {"apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "mit", *(f"cc-by-{terms}" for terms in _CREATIVE_COMMONS)}
_SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def header(values: Mapping[str, str | Sequence[str]], *, more: str = "") -> str:
    """The lines between `---` and `---`: a text as it is, several as a list. Empty ones are left out. more: YAML lines to end with."""
    lines = ["---"]
    for key, value in values.items():
        if value:
            lines += [f"{key}: {value}"] if isinstance(value, str) else [f"{key}:", *(f"- {item}" for item in value)]
    return "\n".join([*lines, f"{more}---", ""])


def licence_identifiers(licences: Iterable[str]) -> list[str]:
    """Each once, sorted; `other` for those that the index does not know, and where there is none."""
    return sorted({name if (name := licence.lower()) in _KNOWN_LICENCES else "other" for licence in licences}) or ["other"]


def size_category(rows: int) -> str:
    """Such as `1K<n<10K`."""
    return next((words for limit, words in _SIZE_CATEGORIES if rows < limit), "n>1M")
