"""Bytes and marked-up strings become plain Unicode text, the same way for every page object and every text that is learned from.

`decode` finds the charset, `clean` normalises plain text, `plain_text` also removes entities and markup. LaTeX stays as it is written.
"""

import codecs
import html
import re
import unicodedata
from functools import cache
from html.entities import html5

SUBSCRIPTS = str.maketrans("0123456789+-−–=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₋₌₍₎")
SUPERSCRIPTS = str.maketrans("0123456789+-−–=()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁼⁽⁾")

_DECLARED = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})|^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_.-]{1,40})""",
    re.IGNORECASE,
)
_IN_HEADER = re.compile(r"""charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE | re.ASCII)
# Labels that stand for windows-1252 on the web, and whose declarations are wrong often enough to be checked against UTF-8.
_WESTERN = {"ascii", "iso8859-1", "cp1252"}
_NOT_FOR_PAGES = {"utf-7", "idna", "punycode", "unicode-escape", "raw-unicode-escape", "unicode_escape", "raw_unicode_escape", "undefined"}
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

# Invisible characters that reorder, hide or split text go; joiners stay, since scripts and emoji need them. Controls separate words.
_DROPPED = [0x00AD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFFF9, 0xFFFC)]
_DROPPED += [
    *range(0xFDD0, 0xFDF0),
    *range(0xE0000, 0xE0080),
    *range(0xD800, 0xE000),
    *(plane << 16 | end for plane in range(17) for end in (0xFFFE, 0xFFFF)),
]
_INVISIBLES = dict.fromkeys(_DROPPED) | dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")

# UTF-8 read as windows-1252 begins its letters, signs and quotation marks with one of these three.
_MOJIBAKE = re.compile("[ÂÃ][\u0080-\u009f¡-¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â[\u0080-\u009f€‚][\u0080-¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]")
_CONTROL_BYTES = {code: bytes([code]) for code in range(0x80, 0xA0)}  # where it was read as Latin-1, or the byte has no letter

_AMPERSANDS = re.compile(r"&(?:(?:amp|#0{0,3}38|#[xX]0{0,3}26);)+")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_TAG = re.compile(r"""<(/?)([A-Za-z][A-Za-z0-9:-]{0,40})((?:\s+[A-Za-z_:][\w:.-]*(?:\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'<>=`]+))?)*)\s*(/?)>""")
_SCRIPT = re.compile(r"<((?:[a-z]{1,8}:)?su[bp])(?:\s[^<>]*)?>([^<>]*)</\1\s*>", re.IGNORECASE)
# What is inside of these was never meant to be read.
_UNREAD = re.compile(r"<(script|style|iframe|object|template|noscript)\b[^<>]{0,200}>.{0,1000}?</\1\s*>|<!--.{0,1000}?-->", re.IGNORECASE | re.DOTALL)
_VOID = {"br", "hr", "wbr", "img", "break"}
_WORDS = """
address article aside blockquote br break dd div dl dt figcaption figure footer h1 h2 h3 h4 h5 h6 header hr label li list list-item main nav ol p para
sec section simplepara table tbody td tfoot th thead title tr ul
"""
BLOCKS = frozenset(_WORDS.split())
_INLINE_WORDS = """
a abbr b big bold cite code em ext-link font i img inf inline-formula italic monospace named-content overline q roman s sans-serif sc small span
strike strong sub sup tt u underline wbr xref
"""
# Elements a plain string may carry; anything else between angle brackets (such as <x^2>) is the author's own.
_KNOWN = BLOCKS | frozenset(_INLINE_WORDS.split())
_LONGEST_RUN = 30  # of combining marks: the Stream-Safe Text Format of Unicode (UAX #15)
_LONGEST = 200_000  # characters; no title or abstract is as long, and papers sets aside what is longer than it allows
_ORDINAL = {"st", "nd", "rd", "th", "er", "re", "e", "a", "o"}


def decode(body: bytes, content_type: str = "") -> str:
    """The text of a response: by byte order mark, else the header's charset, the page's own, UTF-8 where the bytes are, windows-1252.

    A declaration of Latin-1 yields to UTF-8 where the bytes are valid UTF-8 beyond ASCII: no other text looks like that.
    """
    # A byte order mark says it for certain, and stands before anything declared (WHATWG Encoding Standard, "decode").
    for mark, name in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    # Latin-1 and its kin are declared by servers that know nothing of the page: they are believed only where the bytes are not UTF-8.
    declared = _declared_charset(body, content_type)
    if declared is None or declared == "utf-8" or declared in _WESTERN:
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError:
            if declared == "utf-8" and re.search(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}", body):
                return body.decode("utf-8", "replace")  # UTF-8 with a few damaged bytes
            return body.decode("cp1252", "cp1252_holes")
    return body.decode(declared, "replace")


def clean(text: str) -> str:
    """Plain text in NFC, with single spaces, and without control, bidirectional and other invisible characters. Idempotent."""
    # Most strings are clean already, and this is the cheap way to see it.
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip(" ")
    # Until nothing changes, so that cleaning what is clean alters nothing.
    while (cleaner := _cleaned_once(text)) != text:
        text = cleaner
    return text


def plain_text(text: str) -> str:
    """`clean` text of a string that may carry entities and markup, also when they were escaped more than once. Idempotent."""
    text = text[:_LONGEST]
    for _ in range(50):  # each round peels one layer; nobody but an attacker wraps more
        plainer = clean(_without_markup(_without_entities(text)))
        if plainer == text:
            break
        text = plainer
    return text


def letters_of(text: str) -> str:
    """Words of letters and digits alone, in lower case: what two writings of one title, or of one sentence, have in common."""
    return " ".join("".join(letter if letter.isalnum() else " " for letter in text.casefold()).split())


def repair_mojibake(text: str) -> str:
    """UTF-8 that was once read as windows-1252 is put right, but only where every character of the text takes part in the proof."""
    while ("Â" in text or "Ã" in text or "â" in text) and _MOJIBAKE.search(text):
        try:
            repaired = b"".join(_CONTROL_BYTES.get(ord(letter)) or letter.encode("cp1252") for letter in text).decode("utf-8")
        except UnicodeError:
            return text
        if repaired == text:
            return text
        text = repaired
    return text


def script(text: str, *, is_sub: bool) -> str:
    """A subscript or superscript in one line: H₂O, Ca²⁺, k_cat, x^(n+i), 1st, p*."""
    text = text.strip()
    table = SUBSCRIPTS if is_sub else SUPERSCRIPTS
    # Unicode has digits and signs; what it lacks is written as LaTeX would: _x, ^(x).
    if all(ord(letter) in table for letter in text):
        return text.translate(table)
    if not any(map(str.isalnum, text)) or (not is_sub and text.lower() in _ORDINAL):
        return text
    return ("_" if is_sub else "^") + (text if text.isalnum() else f"({text})")


def _cleaned_once(text: str) -> str:
    text = repair_mojibake(text)
    if not text.isprintable():  # all that is dropped or replaced is not, and asking is fast
        text = text.translate(_INVISIBLES)
    text = " ".join(text.split())
    if len(text) > _LONGEST_RUN and not text.isascii():
        text = _marks_in_a_row().sub(r"\1", text)
    return unicodedata.normalize("NFC", text)


@cache
def _marks_in_a_row() -> re.Pattern[str]:
    """More marks on one letter than any language has. Normalising sorts them, in a time that grows with the square of how many they are."""
    marks = "".join(chr(code) for code in range(0x300, 0x1E950) if unicodedata.combining(chr(code)))
    return re.compile(f"([{marks}]{{{_LONGEST_RUN}}})[{marks}]+")


def _declared_charset(body: bytes, content_type: str) -> str | None:
    """The Python name of the declared charset: the header's, else the page's. None: none declared, or none that makes text."""
    if (match := _IN_HEADER.search(content_type)) and (name := _text_encoding(match[1])):
        return name
    if (inside := _DECLARED.search(body[:4096])) and (name := _text_encoding((inside[1] or inside[2]).decode("ascii"))):
        return None if name.startswith(("utf-16", "utf-32")) else name  # a declaration that was found as ASCII is not in UTF-16
    return None


def _text_encoding(label: str) -> str | None:
    from w3lib.encoding import resolve_encoding

    name = resolve_encoding(label)
    if name in _NOT_FOR_PAGES or name is None:
        return None
    try:
        b"a".decode(name, "replace")
    except (LookupError, ValueError):
        return None  # a codec such as `hex`, which makes no text
    return name


def _fill_hole(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(map(chr, error.object[error.start : error.end])), error.end


codecs.register_error("cp1252_holes", _fill_hole)


def _without_entities(text: str) -> str:
    return _ENTITY.sub(_character, _AMPERSANDS.sub("&", text)) if "&" in text else text


def _character(match: re.Match[str]) -> str:
    """A known entity's character; html.unescape would also take the beginning of an unknown name."""
    name = match[0][1:]
    return html.unescape(match[0]) if name.startswith("#") else html5.get(name, match[0])


def _without_markup(text: str) -> str:
    """Known elements go, block elements leave a space; a start tag without its end tag is the author's own and stays."""
    if "<" not in text:
        return text
    # Sub- and superscripts first, while their tags are still there to tell them from plain letters.
    text = _UNREAD.sub("", text)
    text = _SCRIPT.sub(lambda match: script(match[2], is_sub=match[1].lower().endswith("sub")), text)
    closed = {match[2].lower() for match in _TAG.finditer(text) if match[1]}

    def replace(match: re.Match[str]) -> str:
        prefix, _, name = match[2].lower().rpartition(":")
        if not prefix and (name not in _KNOWN or (name not in closed and name not in _VOID and not match[4])):
            return match[0]
        return " " if name in BLOCKS else ""

    return _TAG.sub(replace, text)
