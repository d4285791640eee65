"""What a made-up text must not be or hold: empty or stuck, personal data, words that do not belong on a page. Each reason has a short name."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

# Why a text is dropped, in words that are counted, and what was found; None for a good one.
Why = tuple[str, str] | None

# Whole words only, and none that is also science (retarded potentials, dykes, chinks), Latin or a family name: a longer list is the user's.
_WORDS = """
arsehole arseholes asshole assholes bastard bastards bitch bitches bitching bollocks bullshit cunt cunts dickhead fag faggot faggots fags fuck
fucked fucker fuckers fucking fucks gook gooks kike kikes motherfucker motherfuckers nigga niggas nigger niggers paki pakis porn porno pussy
raghead ragheads shit shits shitty slut sluts spic spics tranny trannies twat twats wank wanker wankers wetback wetbacks whore whores arschloch
fick ficken hure nazi nazis putain merde salope puta puto mierda pendejo
"""
BLOCKED_WORDS = frozenset(_WORDS.split())
_LEET = str.maketrans("013457@$!|€", "oieastasiie")
_TOKEN = re.compile(r"[\w@$!|€]+")
_SPELT_OUT = re.compile(r"(?<!\w)(?:\w[ .*_-]){2,}\w(?!\w)")


def blocked_word(text: str, words: Collection[str] = BLOCKED_WORDS) -> Why:
    """The first of `words` in the text, whatever its letter case, also in digits and signs for letters, stretched, or spelt out letter by letter."""
    whole = _SPELT_OUT.sub(lambda match: re.sub(r"[ .*_-]", "", match[0]), text.casefold())
    # Numbers are numbers, and a sign at the end ends the sentence.
    tokens = [token for token in _TOKEN.findall(f"{text.casefold()} {whole}") if any(letter.isalpha() for letter in token)]
    plain = [form.translate(_LEET) for token in tokens for form in (token, token.strip("!|@$€"))]
    return next((("blocked word", word) for form in plain for word in (form, re.sub(r"(.)\1{2,}", r"\1", form)) if word in words), None)


def read_blocked_words(path: str | None) -> frozenset[str]:
    """The built-in words, and those of the file at `path`: one a line in UTF-8, after # a comment."""
    if path is None:
        return BLOCKED_WORDS
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    return BLOCKED_WORDS | {word.casefold() for line in lines if (word := line.partition("#")[0].strip())}


def personal_data(text: str) -> Why:
    """(kind, what) of the first thing in the text that could lead to a person, an account or a real publication."""
    found = ((kind, match[0]) for kind, pattern in _PERSONAL.items() for match in re.finditer(pattern, text, re.IGNORECASE))
    return next((one for one in found if one[0] not in _CHECKS or _CHECKS[one[0]](one[1])), None)


def has_card_digits(text: str) -> bool:
    """Whether the digits pass the check of card numbers. Source: Luhn 1960, US patent 2,950,048."""
    digits = [int(sign) for sign in text if sign.isdecimal()]
    doubled = [digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(reversed(digits))]
    return len(digits) >= 13 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def has_iban_digits(text: str) -> bool:
    """Whether the text begins with an account number: its country's length, mostly digits, the right remainder. Source: ISO 7064, MOD 97-10."""
    size = _IBAN_LENGTHS.get(text[:2].upper(), 0)
    found = re.match(rf"(?:[ -]?[A-Za-z0-9]){{{size}}}(?![A-Za-z0-9])", text) if size else None
    plain = re.sub("[ -]", "", found[0]) if found else ""
    is_number = 2 * sum(sign.isdecimal() for sign in plain) >= size > 0
    return is_number and int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


# Source: SWIFT, IBAN Registry.
_IBANS = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23
GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28
NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBANS.split()}
_PERSONAL = {
    "e-mail": r"[\w.+-]+\s?(?:@|[\[({]\s?at\s?[\])}])\s?[\w-]+(?:\.|\s?[\[({]\s?dot\s?[\])}]\s?)[^\W\d_]{2,}",
    "doi": r"\b10\.\d{4,9}/\S+|\bdoi\s?[:.]\s?\S+",
    "url": r"\b[a-z][a-z0-9+.-]*://\S+|\bwww\.\S+|\b[a-z][a-z0-9-]+\.(?:com|org|net|edu|gov|info|io|eu)\b(?!\.\w)",
    "orcid": r"\b0000-000\d-\d{4}-\d{3}[\dx]\b",
    "iban": r"\b[a-z]{2}[0-9]{2}(?:[ -]?[a-z0-9]){11,31}",
    "card": r"\b[0-9](?:[ -]?[0-9]){12,18}\b",
    "telephone": r"(?<![\w+.,])(?:\+\d[\d ()/.-]{6,20}\d|\(?0\d{1,4}\)?[ /-]{1,3}\d[\d /-]{4,14}\d|\(?\d{3}[-.) ]{1,2}\d{3}[-. ]\d{4})(?!\w)",
}
_CHECKS: Mapping[str, Callable[[str], bool]] = {"iban": has_iban_digits, "card": has_card_digits}


def degenerate(text: str, *, least: int, most: int, least_variety: float) -> Why:
    """Why, for a text that is empty, of no length between `least` and `most` characters, hardly letters, or stuck.

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
