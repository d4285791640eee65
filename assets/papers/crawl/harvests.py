"""Registries are asked in chains of answers: for what is new since the last time, from where an interrupted chain stood, and never for ever.

A chain begins at a start address of kind `api` and goes on along the links of that kind. Where its protocol can be asked for changes, a chain that
came to its end is followed by increments:

    oai       from=             of ListRecords, in the repository's own granularity (Identify); OAI-PMH 2.0, sections 2.7.1 and 3.5
    crossref  from-index-date:  of /works, by the day, one day further back since works are found a while after they were indexed

and every `full_sweep_nights` nights, or when the page object reads otherwise than then, by a whole sweep. A chain that could not be finished is
continued at its token in the next night, also where credits ran out (credits.py); a token that is not known any more begins the chain again, from the
last date. A chain that turns in a circle, or costs more than a source may in a night, ends with a problem.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from assets.papers.items import Link, Parsed
from assets.papers.page_objects import bare_name
from assets.papers.raw_pages import address

# Answers without a record that may follow one another: a repository that filters gives some, one that is broken gives no others.
MOST_EMPTY_ANSWERS = 10
# Page objects whose answers lead to one other each, by a token or a cursor.
LINEAR = frozenset({"oai", "crossref", "openalex"})
_NOT_BEGUN: dict[str, Any] = {"began": "", "answers": 0, "mark": ""}
_MOMENT = re.compile(rb"<responseDate>\s*(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\s*</")
_GRANULARITY = re.compile(rb"<granularity>\s*(YYYY-MM-DD(?:Thh:mm:ssZ)?)\s*</")
_EXPIRED = b"badResumptionToken"
_KNOWN_EXPIRED = frozenset({400, 404, 410, 422})


@dataclass(frozen=True)
class Bounds:
    """What the chains of one source may cost in one night."""

    requests: int
    body_bytes: int
    seconds: float


@dataclass(frozen=True)
class Harvest:
    """What is remembered of one start address.

    since: from when on everything is had, a day or a moment of the registry's clock; "" = it was never had whole. nights: increments since the
    last whole sweep. rest: where an unfinished chain goes on; began, is_whole: when that chain began, and whether it is a sweep; answers: how many it
    has had, of which one led to the address `mark`. reader: version of the page object. granularity: of the repository, as Identify says.
    """

    since: str = ""
    nights: int = 0
    rest: str = ""
    began: str = ""
    is_whole: bool = True
    reader: str = ""
    granularity: str = ""
    answers: int = 0
    mark: str = ""


@dataclass
class Chain:
    """One chain in this crawl. begin: its first address tonight.

    is_fresh: its answers are asked for unconditionally, since the tokens of stored ones expire.
    problem: (kind, words) of why it was ended or could not go on.
    """

    source: str
    page: str
    start: str
    begin: str
    harvest: Harvest
    is_fresh: bool
    is_complete: bool = False
    is_refused: bool = False
    empty: int = 0
    problem: tuple[str, str] | None = None
    addresses: set[str] = field(default_factory=set)
    answers: set[str] = field(default_factory=set)

    @property
    def is_linear(self) -> bool:
        """Whether each answer leads to one other, so that one that comes twice is a circle."""
        return is_linear(self.page)


@dataclass
class _Cost:
    requests: int = 0
    body_bytes: int = 0
    since: float = 0.0


class Harvests:
    """The chains of one crawl. remembered: by source and start address, as `states` gave it after the last crawl."""

    def __init__(self, remembered: Mapping[tuple[str, str], Harvest], bounds: Bounds) -> None:
        self._remembered = remembered
        self._bounds = bounds
        self._chains: dict[tuple[str, str], Chain] = {}
        self._of: dict[str, Chain] = {}
        self._costs: dict[str, _Cost] = {}

    def begin(self, source: str, page: str, start: str, *, sweep_nights: int, reader: str, is_fresh: bool) -> list[str]:
        """The addresses with which a chain begins tonight: its start, the same for what is new only, or where the last one stood.

        page: name of the page object; reader: its version. sweep_nights: from one whole sweep to the next; 1 = every night is one.
        """
        page = bare_name(page)
        last = self._remembered.get((source, start), Harvest())
        if last.reader != reader:
            last = Harvest(reader=reader, granularity=last.granularity)  # what was had was read by other eyes
        changes = changes_since(page, start, last) if last.since and last.nights + 1 < sweep_nights else ""
        chain = Chain(source, page, start, last.rest or changes or start, last, is_fresh)
        if not last.rest:
            chain.harvest = replace(last, is_whole=not changes, **_NOT_BEGUN)
        self._chains[source, start] = chain
        self._join(chain, chain.begin)
        # Asked once for as long as it is remembered: increments need to know how the repository writes its dates.
        is_unknown = page == "oai" and not last.granularity and sweep_nights > 1
        return [identify(start), chain.begin] if is_unknown else [chain.begin]

    def chain_of(self, url: str) -> Chain | None:
        """The chain that the address belongs to."""
        return self._of.get(url)

    def onward(self, url: str, source: str, body: bytes, parsed: Parsed, *, today: date) -> list[Link]:
        """Where to go on after an answer: along its own links, from the beginning once more, or nowhere."""
        others, onward = _split(parsed.links)
        chain = self._of.get(url)
        if chain is None and (self._is_identify(url, body) or not onward):
            return others
        if chain is None:
            # A list that leads to answers for programs begins a chain as well, whose cost is bounded.
            chain = self._chains[source, url] = Chain(source, "", url, url, Harvest(), is_fresh=False)
        if chain.problem or chain.is_complete:
            return others
        if chain.page == "oai" and _EXPIRED in body and not parsed.papers:
            return self._again(chain, url)
        # Answered, a place to go on is none any more.
        moment = _MOMENT.search(body)
        began = chain.harvest.began or (moment[1].decode() if moment else today.isoformat())
        chain.harvest = replace(chain.harvest, rest="", began=began)
        cost = self._costs.setdefault(chain.source, _Cost(since=monotonic()))
        cost.requests += 1
        cost.body_bytes += len(body)
        if not onward and chain.is_linear:
            # An answer that is an error and nothing else is no end: what was not asked for rightly was not had.
            chain.is_complete = bool(parsed.papers or parsed.withdrawals or parsed.left_out) or not parsed.problems
            chain.is_refused = not chain.is_complete
            if chain.is_refused:
                chain.problem = ("harvest_refused", f"{parsed.problems[0].words[:200]} (asked for {url[:200]})")
            return others
        if onward:
            chain.problem = (self._circle(chain, parsed, onward) if chain.is_linear else None) or self._excess(chain, onward[0])
        if chain.problem:
            return others
        for link in onward:
            self._join(chain, address(link.url))
        return [*others, *onward]

    def failed(self, url: str, *, status: int, problem: str, words: str, is_passing: bool) -> list[Link]:
        """An answer of a chain could not be had: it waits for the next night, or begins again where its token is not known any more."""
        chain = self._of.get(url)
        if chain is None or not chain.is_linear or chain.is_complete or chain.problem:
            return []
        # Where the first answer failed there is nothing to go on with.
        is_first = url == chain.begin and not chain.harvest.rest
        if status in _KNOWN_EXPIRED and not is_first:
            return self._again(chain, url)
        chain.problem = (problem, words)
        chain.harvest = replace(chain.harvest, rest=url if is_passing and not is_first else "")
        chain.is_refused = not is_passing
        return []

    def stopped(self, url: str) -> None:
        """The source has no pages left for tonight: its chain goes on at that address in the next night."""
        if chain := self._of.get(url):
            chain.harvest = replace(chain.harvest, rest=url)

    def states(self) -> dict[tuple[str, str], Harvest]:
        """What to remember of every chain of this crawl that goes from answer to answer."""
        return {place: _after(chain) for place, chain in self._chains.items() if chain.is_linear}

    def problems(self) -> dict[tuple[str, str], tuple[str, str] | None]:
        """(kind, words) of the chains that were ended, None for those that came to their end, by source and start address."""
        return {place: chain.problem for place, chain in self._chains.items() if chain.problem or (chain.is_linear and chain.is_complete)}

    def is_on_its_way(self, url: str) -> bool:
        """Whether an address is one of a chain, whose troubles are told at its start."""
        chain = self._of.get(url)
        return chain is not None and chain.is_linear

    def partial_sources(self) -> set[str]:
        """The sources of which tonight's answers do not tell everything: not having seen a link there says nothing."""
        return {chain.source for chain in self._chains.values() if chain.is_linear and not (chain.harvest.is_whole and chain.is_complete)}

    def _join(self, chain: Chain, url: str) -> None:
        chain.addresses.add(url)
        self._of.setdefault(url, chain)

    def _is_identify(self, url: str, body: bytes) -> bool:
        """Whether it is where a repository says what it is; its granularity is noted."""
        mine = [chain for chain in self._chains.values() if chain.page == "oai" and url == identify(chain.start)]
        for chain in mine:
            found = _GRANULARITY.search(body)
            chain.harvest = replace(chain.harvest, granularity=found[1].decode() if found else "YYYY-MM-DD")
        return bool(mine)

    def _again(self, chain: Chain, url: str) -> list[Link]:
        """From the last date, where the token is one of an earlier night; one of tonight that has expired leaves it to the next."""
        was_kept = url == chain.begin and bool(chain.harvest.rest)
        since = changes_since(chain.page, chain.start, chain.harvest) if chain.harvest.since and not chain.harvest.is_whole else ""
        chain.harvest = replace(chain.harvest, rest="", **_NOT_BEGUN)
        if not was_kept:
            chain.problem = (
                "expired_token",
                "a token expired before it could be used; the next night begins from the last date. A shorter delay_s may help",
            )
            return []
        chain.begin = since or chain.start
        self._join(chain, chain.begin)
        return [Link(chain.begin, "api")]

    def _circle(self, chain: Chain, parsed: Parsed, onward: list[Link]) -> tuple[str, str] | None:
        following, now = address(onward[0].url), chain.harvest
        if following in {*chain.addresses, now.mark}:
            words = f"an answer leads back to one that was had before ({following[:200]}): the chain would never end, and is ended here"
            return "repeated_token", words
        # A circle longer than a night's answers is met at one address that is remembered, a later one after twice as many answers (Brent 1980).
        is_marked = now.answers & (now.answers - 1) == 0
        chain.harvest = replace(now, answers=now.answers + 1, mark=following if is_marked else now.mark)
        if not (parsed.papers or parsed.withdrawals):
            chain.empty += not parsed.left_out
            words = f"more than {MOST_EMPTY_ANSWERS} answers in a row without a record, each with a token for another: the chain is ended here"
            return ("empty_answers", words) if chain.empty > MOST_EMPTY_ANSWERS else None
        chain.empty = 0
        said = digest_of(parsed.papers, parsed.withdrawals)
        if said in chain.answers:
            return "repeated_answer", "another token brought the records of an earlier answer again: the chain would never end, and is ended here"
        chain.answers.add(said)
        return None

    def _excess(self, chain: Chain, following: Link) -> tuple[str, str] | None:
        cost, bounds = self._costs[chain.source], self._bounds
        spent = (
            ("max_harvest_requests", cost.requests, bounds.requests, "requests"),
            ("max_harvest_mib", cost.body_bytes, bounds.body_bytes, "bytes"),
            ("max_harvest_s", monotonic() - cost.since, bounds.seconds, "seconds"),
        )
        for name, used, most, unit in spent:
            if used >= most:
                chain.harvest = replace(chain.harvest, rest=address(following.url))
                return (
                    "harvest_bound",
                    f"{most:,.0f} {unit} were spent on it in one night; the next goes on from there. Ask for less, or raise {name}",
                )
        return None


def is_linear(page: str) -> bool:
    """Whether each answer that the page object of that name reads leads to one other."""
    return bare_name(page) in LINEAR


def identify(start: str) -> str:
    """The address at which an OAI-PMH repository says what it is."""
    return urlunsplit(urlsplit(start)._replace(query="verb=Identify"))


def changes_since(page: str, start: str, harvest: Harvest) -> str:
    """The start address, asking only for what changed since then; "" where that protocol or address cannot be asked so."""
    parts = urlsplit(start)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if page == "oai" and query.get("verb") == "ListRecords" and "resumptionToken" not in query:
        # `from` is inclusive. Every repository takes days; seconds only where Identify says so.
        is_by_second = harvest.granularity.endswith("Z") and "T" in harvest.since
        query["from"] = harvest.since if is_by_second else harvest.since[:10]
        if (until := query.get("until", "")) and until[:10] < query["from"][:10]:
            return ""
    elif page == "crossref" and parts.path.rstrip("/").endswith("/works") and "sample" not in query:
        day = date.fromisoformat(harvest.since[:10]) - timedelta(days=1)
        kept = [part for part in query.get("filter", "").split(",") if part and not part.startswith("from-index-date:")]
        query["filter"] = ",".join([*kept, f"from-index-date:{day.isoformat()}"])
    else:
        return ""
    return address(urlunsplit(parts._replace(query=urlencode(query, safe="*:,@"))))


def digest_of(*said: Iterable[Any]) -> str:
    """Names what was said: dataclasses in order."""
    return hashlib.sha256(repr([tuple(part) for part in said]).encode()).hexdigest()[:24]


def to_rows(states: Mapping[tuple[str, str], Harvest]) -> list[dict[str, Any]]:
    """As values for JSON."""
    return [{"source": source, "start": start, **asdict(harvest)} for (source, start), harvest in sorted(states.items())]


def from_rows(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Harvest]:
    """What `to_rows` gave."""
    return {(row["source"], row["start"]): Harvest(**{name: value for name, value in row.items() if name not in ("source", "start")}) for row in rows}


def _split(links: Iterable[Link]) -> tuple[list[Link], list[Link]]:
    others: list[Link] = []
    onward: list[Link] = []
    for link in links:
        (onward if link.kind == "api" else others).append(link)
    return others, onward


def _after(chain: Chain) -> Harvest:
    now = chain.harvest
    if chain.is_complete:
        return replace(now, since=now.began, nights=0 if now.is_whole else now.nights + 1, rest="", is_whole=True, **_NOT_BEGUN)
    if now.rest:
        return now
    # A registry that refuses to be asked for changes is asked for everything the next time, and how it writes its dates as well.
    is_forgotten = chain.is_refused and not now.is_whole
    return replace(now, since="" if is_forgotten else now.since, granularity="" if is_forgotten else now.granularity, is_whole=True, **_NOT_BEGUN)
