"""Which statements are about the same paper: those of one DOI, of one key in one source, or of one address.

An article page knows the DOI, the listing that led to it may know the address alone; together they name one paper. An address that several papers
of a page share (a listing's own, say) names none of them, and two different DOIs never become one paper.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from assets.papers.items import PageKind, Paper, Parsed

Alias: TypeAlias = tuple[str, ...]

_DOI = re.compile(r"^(?:doi:|https?://(?:dx\.)?doi\.org/)?(10\.[0-9]{4,9}/\S+)$", re.IGNORECASE)


@dataclass(frozen=True)
class Said:
    """What one stored version of a page says. url: of the page."""

    source: str
    url: str
    kind: PageKind
    crawl: int
    parsed: Parsed


def plain_doi(text: str) -> str:
    """The DOI in lower case without prefix or address; empty when `text` is none."""
    found = _DOI.match(text.strip())
    return found[1].lower() if found else ""


def doi_of(paper: Paper) -> str:
    """The DOI that a statement gives, as its DOI or as its key."""
    return plain_doi(paper.doi) or plain_doi(paper.key)


class Identities:
    """Tells the paper of every statement. Built from everything that was ever said of the papers, in any order.

    shared: the addresses that name no paper, where `said` is not all that the pages say.
    """

    def __init__(self, said: Iterable[Said], shared: Container[str] | None = None) -> None:
        said = list(said)
        self._shared = {url for version in said for url in shared_addresses(version.parsed)} if shared is None else shared
        self._parents: dict[Alias, Alias] = {}
        self._dois: dict[Alias, set[str]] = defaultdict(set)
        for version in said:
            for paper in version.parsed.papers:
                self._learn(version, paper)
        self._collect()

    def paper_of(self, version: Said, paper: Paper) -> Alias:
        """A name for the paper that `paper` speaks of, equal for all its statements; of no meaning outside this build."""
        doi = doi_of(paper)
        return ("doi", doi) if doi else self._find(("key", version.source, paper.key))

    def named(self, source: str, key: str) -> Alias:
        """The paper that a source calls by a key, a DOI or an address."""
        doi = plain_doi(key)
        if doi:
            return ("doi", doi)
        by_key = self._find(("key", source, key))
        return by_key if by_key != ("key", source, key) or ("key", source, key) in self._parents else self._find(("url", key))

    def _learn(self, version: Said, paper: Paper) -> None:
        doi = doi_of(paper)
        aliases = list(self._aliases(version, paper))
        # Names that meet in a statement without a DOI are joined into sets (union-find). Those of a statement with one are only noted, and take
        # that DOI in `_collect`: were they joined, a name that is used with two DOIs would make one paper of two.
        if doi:
            for alias in aliases:
                self._dois[alias].add(doi)
        else:
            for alias in aliases:
                self._join(aliases[0], alias)

    def _aliases(self, version: Said, paper: Paper) -> Iterator[Alias]:
        yield ("key", version.source, paper.key)
        addresses = [paper.url, paper.key]
        if version.kind == "article" and len(version.parsed.papers) == 1:
            addresses.append(version.url)
        for address in addresses:
            if "://" in address and address not in self._shared:
                yield ("url", address)

    def _collect(self) -> None:
        """Give every set of joined names the one DOI that any of them has."""
        # A set in which two DOIs occur gets neither: two different DOIs never become one paper.
        dois: dict[Alias, set[str]] = defaultdict(set)
        for alias in self._parents:
            dois[self._root(alias)] |= self._dois.get(alias, set())
        self._doi_of_root = {root: ("doi", next(iter(found))) for root, found in dois.items() if len(found) == 1}
        # Names that only ever came with a DOI are names of that paper too.
        for alias, found in self._dois.items():
            if alias not in self._parents and len(found) == 1:
                self._doi_of_root[alias] = ("doi", next(iter(found)))

    def _find(self, alias: Alias) -> Alias:
        root = self._root(alias)
        return self._doi_of_root.get(root, root)

    def _root(self, alias: Alias) -> Alias:
        while self._parents.get(alias, alias) != alias:
            alias = self._parents[alias]
        return alias

    def _join(self, one: Alias, other: Alias) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        self._parents.setdefault(one, one)
        self._parents.setdefault(other, other)
        # The smaller name is the root, so that the order of joining does not matter.
        self._parents[second] = first


def paper_id(statements: Sequence[tuple[int, str, Paper]]) -> str:
    """16 hexadecimal digits from (crawl, source, statement) of one paper: of its DOI, or of source and key where none was known when it came.

    What was said in the first crawl alone decides, so that an id stays when more becomes known.
    """
    first = min(crawl for crawl, _, _ in statements)
    early = [(source, paper) for crawl, source, paper in statements if crawl == first]
    dois = sorted({doi for _, paper in early if (doi := doi_of(paper))})
    name = f"doi:{dois[0]}" if dois else "\n".join(min((source, paper.key) for source, paper in early))
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]


def shared_addresses(parsed: Parsed) -> set[str]:
    """The addresses that several papers of one version of a page share."""
    keys: dict[str, set[str]] = defaultdict(set)
    for paper in parsed.papers:
        keys[paper.url].add(paper.key)
    return {url for url, found in keys.items() if len(found) > 1}
