"""The word that was probably meant, for the errors that name one nobody knows."""

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[object]) -> str:
    """` (did you mean 'NAME'?)` with the known name nearest to `word`, whatever its letter case; empty when none is near."""
    import difflib

    by_folded = {str(name).casefold(): str(name) for name in known}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    return f" (did you mean '{by_folded[near[0]]}'?)" if near else ""
