"""Who asks: the address under which those whose servers we ask can reach a person, sent with every request."""

import re
from urllib.parse import urlsplit

PRODUCT = "figment"
_EMAIL = re.compile(r"[^@\s<>()]+@[^@\s<>()]+\.[^@\s<>().]+")
# Names that belong to nobody (RFC 2606): nobody could be reached there.
_NOBODY = re.compile(r"(^|[.@/])(example|invalid|test|localhost|example\.(com|net|org))(/|$)", re.IGNORECASE)


def check_contact(contact: str, *, where: str) -> None:
    """Raises ValueError, beginning with `where`, unless it is an e-mail address or a web page."""
    is_page = urlsplit(contact).scheme in {"http", "https"} and bool(urlsplit(contact).hostname)
    if not contact.isascii() or not contact.isprintable() or not (is_page or _EMAIL.fullmatch(contact)):
        raise ValueError(f"{where} must be an e-mail address or a web page where publishers can reach you, found '{contact[:80]}'")


def reaches_nobody(contact: str) -> bool:
    """Whether its host is one that belongs to nobody."""
    return bool(_NOBODY.search(urlsplit(contact).hostname or contact.rpartition("@")[2]))


def user_agent(contact: str, role: str) -> str:
    """What a program calls itself: product, version, what it is (`research crawler`), and who to write to."""
    return f"{PRODUCT}/0.1 ({role}; {contact if '://' in contact else f'mailto:{contact}'})"
