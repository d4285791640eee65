"""How many of each source's papers have a title, an abstract and a picture, night after night: a fall says that a site's markup has changed.

The history lies outside the output, one line a crawl, beside what the crawl remembers of its nights; a build of the same crawl replaces its line. A
source is compared with its own previous line. The titleless are counted as papers here, though `papers` sets them aside.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stages.files import write_file_atomically
from stages.markdown import escape, png_data_uri, table

if TYPE_CHECKING:
    import numpy

HISTORY = Path(".figment") / "crawls" / "papers" / "shares.jsonl"
FACTS = ("title", "abstract", "picture")
# A source of fewer papers loses a tenth of its pictures by one paper.
LEAST_PAPERS = 20
_NIGHTS_KEPT, _NIGHTS_SHOWN = 1_000, 60
# Of the plot: a panel a source, a line a fact; blue, green and red can be told apart as the legend names them.
_COLOURS = {"title": (120, 120, 120), "abstract": (31, 119, 180), "picture": (214, 39, 40)}
_PANEL_PX, _NIGHT_PX, _MARGIN_PX = 100, 10, 6


@dataclass(frozen=True)
class NightShares:
    """The counts after one crawl. output: of which folder. sources: papers, title, abstract and picture by source. fresh: of those new in it."""

    output: str
    crawl: int
    day: str
    sources: dict[str, dict[str, int]] = field(default_factory=dict)
    fresh: dict[str, dict[str, int]] = field(default_factory=dict)

    def share(self, source: str, fact: str, *, of_fresh: bool = False) -> float | None:
        """Papers of the source that have it, from 0 to 1; None where it has no papers."""
        counts = (self.fresh if of_fresh else self.sources).get(source, {})
        return counts.get(fact, 0) / counts["papers"] if counts.get("papers") else None


def counts_of(sources: Mapping[str, Counter], titleless: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """The counts by source, from those of a build. titleless: papers set aside for having no title, by source."""
    return {
        name: {
            "papers": counter["papers"] + titleless.get(name, 0),
            "title": counter["papers"],
            "abstract": counter["abstract"],
            "picture": counter["image"],
        }
        for name, counter in sources.items()
    }


def remember(path: Path, night: NightShares) -> list[NightShares]:
    """Add the night to the file and give all of its output up to it, oldest first. Lines of a later crawl are of a store that is gone."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    known = [shares for line in lines if (shares := _read(line)) is not None]
    mine = {shares.crawl: shares for shares in known if shares.output == night.output and shares.crawl < night.crawl}
    history = [*[mine[crawl] for crawl in sorted(mine)][-_NIGHTS_KEPT:], night]
    others = [shares for shares in known if shares.output != night.output]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file_atomically(path, "".join(json.dumps(asdict(shares)) + "\n" for shares in [*others, *history]).encode("utf-8"))
    return history


def _read(line: str) -> NightShares | None:
    try:
        return NightShares(**json.loads(line))
    except (ValueError, TypeError):
        return None


def falls(history: Sequence[NightShares], *, most: float, least_papers: int = LEAST_PAPERS) -> list[str]:
    """What fell from the night before the last to the last by more than `most`, in words: shares, and sources left without a paper.

    Among many old papers new ones without pictures hardly show, so the night's own papers are held against the source's share as well.
    """
    if len(history) < 2:
        return []
    before, now = history[-2:]
    told = []
    for source, counts in before.sources.items():
        # A source that left params.yaml has not fallen, and one of a few papers says little.
        if source not in now.sources or counts.get("papers", 0) < least_papers:
            continue
        if not now.sources[source].get("papers"):
            told.append(f"{source}: no paper left of {counts['papers']:,}")
            continue
        for fact in FACTS:
            old, new = before.share(source, fact) or 0.0, now.share(source, fact) or 0.0
            fresh = now.share(source, fact, of_fresh=True)
            if old - new > most:
                told.append(f"{source}: {fact} {old:.0%} → {new:.0%}")
            elif fresh is not None and now.fresh[source]["papers"] >= least_papers and old - fresh > most:
                told.append(f"{source}: {fact} {old:.0%} → {fresh:.0%} of its {now.fresh[source]['papers']:,} new papers")
    return told


def shares_table(history: Sequence[NightShares]) -> str:
    """The last night beside the one before it, as Markdown."""
    now, before = history[-1], history[-2] if len(history) > 1 else None
    rows = []
    for source, counts in now.sources.items():
        cells = [_cell(now.share(source, fact), before.share(source, fact) if before else None) for fact in FACTS]
        rows.append([escape(source), f"{counts['papers']:,}", *cells])
    return table(["source", "papers", *(f"with {fact}" for fact in FACTS)], rows)


def _cell(now: float | None, before: float | None) -> str:
    if now is None:
        return "-"
    return f"{now:.1%}" + (f" ({100 * (now - before):+.1f})" if before is not None and abs(now - before) >= 0.0005 else "")


def shares_plot(history: Sequence[NightShares]) -> str:
    """The shares over the nights as Markdown with a picture: a panel a source, 0 at its floor and 1 at its ceiling, the last night at the right."""
    from formats.png import encode_png

    shown, names = history[-_NIGHTS_SHOWN:], list(history[-1].sources)
    if not names:
        return ""
    picture = png_data_uri(encode_png(_drawn(shown, names)))
    legend = "title grey, abstract blue, picture red; from above: " + ", ".join(map(escape, names))
    return f"![shares over the nights]({picture})\n\n{shown[0].day} to {shown[-1].day}, 0 to 100 % in each panel; {legend}\n"


def _drawn(nights: Sequence[NightShares], names: Sequence[str]) -> "numpy.ndarray":
    """uint8 [H, W, 3]."""
    import numpy

    width = max(2, len(nights)) * _NIGHT_PX + 2 * _MARGIN_PX
    pixels = numpy.full((len(names) * (_PANEL_PX + 2 * _MARGIN_PX), width, 3), 255, numpy.uint8)
    for place, name in enumerate(names):
        floor = (place + 1) * (_PANEL_PX + 2 * _MARGIN_PX) - _MARGIN_PX
        for height in (0, _PANEL_PX // 2, _PANEL_PX):
            pixels[floor - height, _MARGIN_PX:-_MARGIN_PX] = 225
        for fact in FACTS:
            # A level a night, joined by a riser, so that one night alone is seen as well.
            last: int | None = None
            for night, shares in enumerate(nights):
                share = shares.share(name, fact)
                level = None if share is None else floor - round(min(share, 1.0) * _PANEL_PX)
                left = _MARGIN_PX + night * _NIGHT_PX
                if level is not None:
                    pixels[level - 1 : level + 1, left : left + _NIGHT_PX] = _COLOURS[fact]
                    if last is not None:
                        pixels[min(last, level) - 1 : max(last, level) + 1, left : left + 2] = _COLOURS[fact]
                last = level
    return pixels
