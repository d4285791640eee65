"""The section `journal_pages` of params.yaml."""

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from assets.downloads.contact import check_contact, reaches_nobody, user_agent
from assets.downloads.named_sources import check_names
from assets.papers.page_objects import find_page_object
from assets.papers.raw_pages import SourceInfo, address

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class SourceParams:
    """One entry of `journal_pages.sources`.

    name:          used in tables and reports.
    page:          the page object that reads its pages: a name of assets/papers/pages, or `module:function`.
    start:         the addresses where the crawl begins.
    licence:       of what it publishes, where its pages do not say another.
    start_kind:    what those are: index (lists that are asked every night), api (the same, for programs), article.
    contact:       in place of journal_pages.contact, where a publisher knows you by another.
    allowed_hosts: hosts of pages; none = those of `start`. A name covers its own host only; `*.name` what is under it as well.
    image_hosts:   more hosts, for images alone.
    delay_s:       in place of journal_pages.delay_s.
    max_pages:     in place of journal_pages.max_pages.
    full_sweep_nights: in place of journal_pages.full_sweep_nights.
    render:        draw pages in a browser before reading them, for sites that make them with scripts and allow it.
    via:           an HTTP proxy to reach it through; a password stands in an environment variable, `http://name:$PROXY_PASSWORD@host:3128`.
    daily_credits: credits that it may spend in a day (UTC), where an interface counts them (X-RateLimit-Credits-Used; OpenAlex); none = not counted.
    key_env:       the environment variable with the key that an interface knows you by; without it being set, it is asked without one.
    key_name:      the parameter by which the key joins addresses on the wire. It is stored and logged nowhere.
    embedded:      a site of ours in assets/demo_sites, served on loopback for the length of the crawl.
    folder:        a folder of files to serve as that site.
    """

    name: str
    page: str
    start: list[str]
    licence: str
    start_kind: Literal["index", "api", "article"] = "index"
    contact: str = ""
    allowed_hosts: list[str] = field(default_factory=list)
    image_hosts: list[str] = field(default_factory=list)
    delay_s: float | None = None
    max_pages: int | None = None
    full_sweep_nights: int | None = None
    render: bool = False
    via: str = ""
    daily_credits: int | None = None
    key_env: str = ""
    key_name: str = "api_key"
    embedded: str = ""
    folder: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name '{self.name}' must be 1 to 64 letters, digits, - or _, and begin with a letter or digit")
        if not self.licence.strip():
            raise ValueError(f"source '{self.name}': licence is empty; write its SPDX name, or `unknown`")
        if not self.start:
            raise ValueError(f"source '{self.name}': start is empty; name at least one address")
        for url in [*self.start, *([self.via] if self.via else [])]:
            if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
                raise ValueError(f"source '{self.name}': expected an address with http:// or https:// and a host, found '{url[:80]}'")
        if self.via and self.is_local:
            raise ValueError(f"source '{self.name}': `via` cannot go with `embedded` or `folder`, which bring their own proxy")
        # Parameters are written into reports and dvc.lock.
        if (urlsplit(self.via).password or "$").partition("$")[0]:
            raise ValueError(f"source '{self.name}': via holds a password; put it into an environment variable and write http://name:$VARIABLE@host")
        if self.key_env and not _VARIABLE.fullmatch(self.key_env):
            raise ValueError(f"source '{self.name}': key_env is the name of an environment variable (OPENALEX_API_KEY), not the key itself")
        # Parameters are written into reports in full, and addresses into the store.
        if any(name.lower() in (self.key_name.lower(), "api_key", "apikey") for url in self.start for name, _ in parse_qsl(urlsplit(url).query)):
            raise ValueError(f"source '{self.name}': start holds a key; put it into an environment variable, and its name into key_env")
        if self.contact:
            check_contact(self.contact, where=f"source '{self.name}': contact")
        # Where a source has none of its own, those of journal_pages hold, which are checked there.
        for name, value in (("delay_s", self.delay_s), ("max_pages", self.max_pages), ("daily_credits", self.daily_credits)):
            if value is not None and value < 0:
                raise ValueError(f"source '{self.name}': {name} must not be negative, found {value}")
        if self.full_sweep_nights is not None and self.full_sweep_nights < 1:
            raise ValueError(f"source '{self.name}': full_sweep_nights must be at least 1, found {self.full_sweep_nights}")

    @property
    def is_local(self) -> bool:
        """Whether we serve it ourselves."""
        return bool(self.embedded or self.folder)

    @property
    def start_hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(urlsplit(address(url)).hostname or "" for url in self.start))

    def info(self) -> SourceInfo:
        """What the raw store tells `papers` of it."""
        return SourceInfo(self.name, self.page, self.licence, tuple(self.start))

    def allows(self, host: str, *, is_image: bool = False) -> bool:
        """Whether the crawl of this source may ask `host`."""
        names = [*(self.allowed_hosts or self.start_hosts), *self.start_hosts, *(self.image_hosts if is_image else ())]
        return any(_covers(name.lower(), host.lower()) for name in names)


@dataclass(frozen=True)
class JournalPagesConfig:
    """The section `journal_pages` of params.yaml. robots.txt is always obeyed; there is no key for it.

    contact: an e-mail address or web page under which publishers reach you; sent with every request.
    delay_s: least pause between two requests to a host; AutoThrottle makes it longer where a site answers slowly.
    full_sweep_nights: nights from one whole sweep of a registry to the next; in between it is asked for what is new. 1 = always whole.
    max_harvest_requests, max_harvest_mib, max_harvest_s: what the chained answers of one source may cost in one night.
    """

    contact: str
    sources: list[SourceParams]
    delay_s: float = 1.0
    max_delay_s: float = 60.0
    target_concurrency: float = 1.0
    concurrency_per_host: int = 2
    timeout_s: float = 30.0
    max_body_mib: int = 32
    max_pages: int | None = None
    max_redirects: int = 5
    retries: int = 3
    max_retry_after_s: float = 600.0
    revisit_after_days: int = 30
    full_sweep_nights: int = 30
    max_harvest_requests: int = 5_000
    max_harvest_mib: int = 4_096
    max_harvest_s: float = 28_800.0
    allow_private_addresses: bool = False

    def __post_init__(self) -> None:
        check_names([source.name for source in self.sources])
        check_contact(self.contact, where="contact")
        for name in ("max_delay_s", "target_concurrency", "concurrency_per_host", "timeout_s", "max_body_mib", "revisit_after_days",
                     "full_sweep_nights", "max_harvest_requests", "max_harvest_mib", "max_harvest_s"):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0, found {getattr(self, name)}")
        for name in ("delay_s", "max_redirects", "retries", "max_retry_after_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        for source in self.sources:
            find_page_object(source.page)

    def unreachable_contact(self) -> str | None:
        """What is wrong with the contact of a source that belongs to others; None when somebody can be reached everywhere."""
        for source in self.sources:
            contact = source.contact or self.contact
            if not source.is_local and reaches_nobody(contact):
                return f"'{contact}' reaches nobody, and source '{source.name}' is not ours; set journal_pages.contact to an address that you read"
        return None

    def user_agent(self, source: SourceParams | None = None) -> str:
        """What the crawl calls itself: product, version, and who to write to."""
        return user_agent((source.contact if source else "") or self.contact, "research crawler")

    def delay_of(self, source: SourceParams) -> float:
        """Least pause in seconds; what we serve ourselves needs none."""
        return source.delay_s if source.delay_s is not None else 0.0 if source.is_local else self.delay_s

    def sweep_nights_of(self, source: SourceParams) -> int:
        """Nights from one whole sweep of a registry to the next; what we serve ourselves is swept every night."""
        return source.full_sweep_nights or (1 if source.is_local else self.full_sweep_nights)


def _covers(name: str, host: str) -> bool:
    return host.endswith(name[1:]) or host == name[2:] if name.startswith("*.") else host == name
