"""The section `archive_items` of params.yaml."""

import re
from collections.abc import Iterable, Mapping
from configparser import Error as ConfigParserError
from configparser import RawConfigParser
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from assets.downloads.contact import check_contact, reaches_nobody, user_agent
from assets.downloads.guarded_http import Secret
from assets.downloads.named_sources import check_names
from assets.downloads.one_file import DownloadRules

ARCHIVE = "archive.org"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# What the archive lets an item be called, and what may stand in an address as it is.
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


@dataclass(frozen=True)
class SourceParams:
    """One entry of `archive_items.sources`.

    name:        used in tables and reports.
    licence:     of its items, where they state none.
    collection:  the archive's name of a collection; its texts are asked for.
    query:       a search in the archive's own language.
    identifiers: a list of items, or a text file with one a line, read from the project root.
    max_items:   items with a file that are harvested, at most; null = no limit, as for the others.
    max_pages:   pages of all of them, by what items state of themselves.
    max_mib:     MiB of all their files.
    host:        an archive that answers as the Internet Archive does, `host` or `http://host:port`.
    embedded:    an archive of ours in assets/demo_sites, served on loopback for the length of the harvest.
    folder:      a folder of files to serve as that archive; without a question of its own, all of it is harvested.
    """

    name: str
    licence: str
    collection: str = ""
    query: str = ""
    identifiers: list[str] | str = ""
    max_items: int | None = None
    max_pages: int | None = None
    max_mib: int | None = None
    host: str = ARCHIVE
    embedded: Literal["", "imaginary_archive", "archive_folder"] = ""
    folder: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name '{self.name}' must be 1 to 64 letters, digits, - or _, and begin with a letter or digit")
        where = f"source '{self.name}':"
        if not self.licence.strip():
            raise ValueError(f"{where} licence is empty; write its SPDX name, or `unknown`")
        asked = [key for key in ("collection", "query", "identifiers") if getattr(self, key)]
        if len(asked) > 1 or (not asked and not self.folder):
            raise ValueError(f"{where} needs one of collection, query and identifiers, found {' and '.join(asked) or 'none'}")
        if self.collection and not IDENTIFIER.fullmatch(self.collection):
            raise ValueError(f"{where} collection '{self.collection[:80]}' is not a name of the archive's; a longer question is a `query`")
        if isinstance(self.identifiers, list):
            check_identifiers(self.identifiers, where=where)
        for key in ("max_items", "max_pages", "max_mib"):
            if getattr(self, key) is not None and getattr(self, key) < 1:
                raise ValueError(f"{where} {key} must be at least 1, or null for no limit, found {getattr(self, key)}")
        if bool(self.folder) != (self.embedded == "archive_folder"):
            raise ValueError(f"{where} `folder` and `embedded: archive_folder` go together, found one of them")
        if self.embedded and self.host != ARCHIVE:
            raise ValueError(f"{where} `host` cannot go with `embedded`, which is served from here")
        if not urlsplit(self.base).hostname or urlsplit(self.base).scheme not in {"http", "https"} or urlsplit(self.base).path:
            raise ValueError(f"{where} host must be a host name, or http(s):// and one, found '{self.host[:80]}'")

    @property
    def base(self) -> str:
        """Address of the archive as tables tell it: that of an embedded one stays the same, whatever its port is."""
        if self.embedded == "imaginary_archive":
            return "http://archive.imaginary-letters.example"
        if self.embedded:
            return f"http://{self.name.replace('_', '-').lower()}.example"
        return self.host if "://" in self.host else f"https://{self.host}"

    @property
    def question(self) -> str:
        """What the archive is searched for; empty where items are named."""
        if self.identifiers:
            return ""
        return self.query or (f"collection:{self.collection} AND mediatype:texts" if self.collection else "mediatype:texts")


@dataclass(frozen=True)
class ArchiveItemsConfig:
    """The section `archive_items` of params.yaml.

    contact: an e-mail address or web page under which the archive reaches you; sent with every request.
    prefer:  pdf, or jp2 for the archive's page images, as ZIP; an item that has only the other gives that.
    files:   best: one file of each item; all: every one of the best kind, for items that are several volumes.
    """

    contact: str
    sources: list[SourceParams]
    prefer: Literal["pdf", "jp2"] = "pdf"
    files: Literal["best", "all"] = "best"
    max_file_mib: int = 2048
    at_once: int = 4
    delay_s: float = 0.2
    timeout_s: float = 60.0
    retries: int = 4
    max_retry_after_s: float = 600.0
    revisit_after_days: int = 30
    allow_private_addresses: bool = False

    def __post_init__(self) -> None:
        check_names([source.name for source in self.sources])
        check_contact(self.contact, where="contact")
        for name in ("max_file_mib", "timeout_s", "revisit_after_days"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0, found {getattr(self, name)}")
        for name in ("delay_s", "retries", "max_retry_after_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        if not 1 <= self.at_once <= 4:
            raise ValueError(f"at_once must be 1 to 4, which is what the archive asks of its guests, found {self.at_once}")

    def unreachable_contact(self) -> str | None:
        """What is wrong with the contact; None when somebody can be reached, or only archives of ours are asked."""
        other = next((source for source in self.sources if not source.embedded), None)
        if other is None or not reaches_nobody(self.contact):
            return None
        return f"'{self.contact}' reaches nobody, and source '{other.name}' is not ours; set archive_items.contact to an address that you read"

    def rules_for(self, source: SourceParams, netloc: str, authorization: str) -> DownloadRules:
        """How that archive is asked. netloc: its host and port. authorization: shown to archive.org and its servers alone."""
        return DownloadRules(
            max_bytes=self.max_file_mib * 2**20,
            timeout_s=self.timeout_s,
            retries=self.retries,
            longest_wait_s=self.max_retry_after_s,
            # A file of gigabytes at less would take months; what broke off goes on in the next harvest.
            least_bytes_per_s=10_000,
            at_once=self.at_once,
            at_once_per_host=self.at_once,
            pause_s=0.0 if source.embedded else self.delay_s,
            allow_private_addresses=self.allow_private_addresses,
            # Of what we serve ourselves, this one door is open, and no other: a redirect to another is refused.
            trusted=frozenset({netloc}) if source.embedded else frozenset(),
            secret=Secret(authorization, (ARCHIVE,)) if authorization else None,
            user_agent=user_agent(self.contact, "research harvest"),
        )


def check_identifiers(names: Iterable[str], *, where: str) -> None:
    """Raises ValueError, beginning with `where`, for one that no item can have."""
    wrong = next((name for name in names if not IDENTIFIER.fullmatch(name)), None)
    if wrong is not None:
        raise ValueError(f"{where} '{wrong[:80]}' is not an identifier; expected letters, digits, dots, - and _, as in archive.org/details/…")


def credentials(environment: Mapping[str, str]) -> str:
    """The Authorization header of an account at the archive, from the variables that its client knows; empty where there is none.

    IA_ACCESS_KEY_ID and IA_SECRET_ACCESS_KEY, or IA_CONFIG_FILE, the ini file that `ia configure` writes. Raises ValueError.
    """
    access, secret = environment.get("IA_ACCESS_KEY_ID", ""), environment.get("IA_SECRET_ACCESS_KEY", "")
    path = environment.get("IA_CONFIG_FILE", "")
    if not access and not secret and path:
        ini = RawConfigParser()
        try:
            found = ini.read(path)
        except ConfigParserError:
            found = []  # Its own message would show lines of the file.
        if not found:
            raise ValueError(f"IA_CONFIG_FILE: {path} cannot be read; expected the ini file that `ia configure` writes")
        access, secret = ini.get("s3", "access", fallback=""), ini.get("s3", "secret", fallback="")
    if bool(access) != bool(secret):
        raise ValueError("one of the two keys of the account at the archive is missing; set IA_ACCESS_KEY_ID and IA_SECRET_ACCESS_KEY, or neither")
    if not (access + secret).isprintable() or not (access + secret).isascii():
        raise ValueError("the keys of the account at the archive hold characters that no key has; copy them anew from archive.org/account/s3.php")
    return f"LOW {access}:{secret}" if access else ""
