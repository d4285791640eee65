"""What a made-up text must not be or hold: empty or stuck, personal data, words that do not belong on a page. Each reason has a short name."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from training.words.imaginary.tables import ImaginaryError

# Whole words only, and none that is also chemistry, Latin or a family name: a longer list is the user's (blocked_words_file).
BLOCKED_WORDS = frozenset(
    "arsehole arseholes asshole assholes bastard bastards bitch bitches bitching bollocks bullshit chink chinks coon coons cunt cunts dickhead dyke "
    "dykes fag faggot faggots fags fuck fucked fucker fuckers fucking fucks gook gooks kike kikes motherfucker motherfuckers nigga niggas nigger "
    "niggers paki pakis porn porno pussy raghead ragheads retard retarded retards shit shits shitty slut sluts spic spics tranny trannies twat twats "
    "wank wanker wankers wetback wetbacks whore whores arschloch fick ficken hure nazi nazis putain merde salope puta puto mierda pendejo".split()
)
_LEET = str.maketrans("013457@$!|€", "oieastasiie")
_TOKEN = re.compile(r"[\w@$!|€]+")
_SPELT_OUT = re.compile(r"(?<!\w)(?:\w[ .*_-]){2,}\w(?!\w)")


def blocked_word(text: str, words: Collection[str] = BLOCKED_WORDS) -> str | None:
    """The first of `words` in the text, whatever its letter case, also in digits and signs for letters, stretched, or spelt out letter by letter."""
    whole = _SPELT_OUT.sub(lambda match: re.sub(r"[ .*_-]", "", match[0]), text.casefold())
    for token in _TOKEN.findall(f"{text.casefold()} {whole}"):
        # Numbers are numbers, and a sign at the end ends the sentence.
        if not any(letter.isalpha() for letter in token):
            continue
        for form in (token, token.strip("!|@$€")):
            plain = form.translate(_LEET)
            if found := next((word for word in (plain, re.sub(r"(.)\1{2,}", r"\1", plain)) if word in words), None):
                return found
    return None


def read_blocked_words(path: str | None) -> frozenset[str]:
    """The built-in words, and those of the file at `path`: one a line, after # a comment. Raises ImaginaryError."""
    if path is None:
        return BLOCKED_WORDS
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImaginaryError(f"blocked_words_file: {path} cannot be read ({error}); expected UTF-8 text, one word a line; or set it to null") from None
    return BLOCKED_WORDS | {word.casefold() for line in lines if (word := line.partition("#")[0].strip())}


def personal_data(text: str) -> tuple[str, str] | None:
    """(kind, what) of the first thing in the text that could lead to a person, an account or a real publication."""
    for kind, (pattern, is_one) in _PERSONAL.items():
        for match in pattern.finditer(text):
            if is_one(match[0]):
                return kind, match[0]
    return None


def has_card_digits(text: str) -> bool:
    """Whether the digits pass the check of card numbers. Source: Luhn 1960, US patent 2,950,048."""
    digits = [int(sign) for sign in text if sign.isdecimal()]
    doubled = [digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(reversed(digits))]
    return len(digits) >= 13 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def has_iban_digits(text: str) -> bool:
    """Whether the remainder is that of an account number. Source: ISO 7064, MOD 97-10."""
    plain = text.replace(" ", "").upper()
    return 15 <= len(plain) <= 34 and int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _has_phone_digits(text: str) -> bool:
    return 8 <= sum(sign.isdecimal() for sign in text) <= 15


def _always(_: str) -> bool:
    return True


_ENDINGS = "com|org|net|edu|gov|info|io|ac|eu|de|uk|ch|at|fr|it|es|nl|jp|cn|in|ru|br|au|ca|us"
_PERSONAL: Mapping[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "e-mail": (re.compile(r"[\w.+-]+\s?(?:@|[\[({]\s?at\s?[\])}])\s?[\w-]+(?:\.|\s?[\[({]\s?dot\s?[\])}]\s?)\w+", re.I), _always),
    "doi": (re.compile(r"\b10\.\d{4,9}/\S+|\bdoi\s?[:.]\s?\S+", re.I), _always),
    "url": (re.compile(rf"\b[a-z][a-z0-9+.-]*://\S+|\bwww\.\S+|\b[a-z][a-z0-9-]+\.(?:{_ENDINGS})\b(?!\.\w)", re.I), _always),
    "orcid": (re.compile(r"\b\d{4}-\d{4}-\d{4}-\d{3}[\dX]\b", re.I), _always),
    "iban": (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b", re.I | re.A), has_iban_digits),
    "card": (re.compile(r"\b\d(?:[ -]?\d){12,18}\b", re.A), has_card_digits),
    "telephone": (
        re.compile(r"(?<![\w+.,])(?:\+\d[\d ()/.-]{6,20}\d|\(\d{2,5}\)[ \d/.-]{5,16}\d|0\d{1,4}[ /-]\d[\d /-]{4,14}\d|\d{3}[-. ]\d{3}[-. ]\d{4})(?!\w)"),
        _has_phone_digits,
    ),
}  # fmt: skip


def degenerate(text: str, *, least: int, most: int, least_variety: float) -> tuple[str, str] | None:
    """(reason, what was found) for a text that is empty, of no length between `least` and `most` characters, hardly letters, or stuck.

    least_variety: of a text's words (from the twelfth on), the fraction that must differ.
    """
    if not text.strip():
        return "empty", ""
    if not least <= len(text) <= most:
        return ("too short" if len(text) < least else "too long"), f"{len(text)} characters"
    if sum(letter.isalpha() for letter in text) < 0.5 * len(text.replace(" ", "")):
        return "hardly letters", text[:40]
    words = re.findall(r"\w+", text.casefold())
    word, run = Counter(words).most_common(1)[0] if words else ("", 0)
    if re.search(r"\b(\w+)(?:\W+\1\b){3}", text.casefold()) or (len(words) >= 12 and len(set(words)) < least_variety * len(words)):
        return "stuck", f"{word} x {run}"
    return None
