"""Draw the whole graph as docs/images/graph.svg: python scripts/draw_graph.py

Columns are steps from the sources, rows keep what belongs together side by side. An arrow that longer ways imply already is left out.
"""

import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from orchestration.bridge.graph import Graph  # noqa: E402 - found by the line above
from orchestration.bridge.resolve import load_graph  # noqa: E402

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _MARGIN = 172, 44, 222, 62, 24  # px of a box, from box to box, and around all
_HUES = (212, 152, 28, 280, 340, 60, 190, 95, 310, 240)  # of the groups, in the order in which the graph brings them
_TIP = """<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 8 4 0 8z" style="fill:#8793a3;stroke:none"/></marker></defs>"""
_STYLE = """
  text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #1d2530 }
  .kinds { font-size: 10.5px; fill: #5a6675 }
  path { fill: none; stroke: #8793a3; stroke-width: 1.4 }
  rect { stroke-width: 1.2; rx: 9px }
  .ground { fill: #fff }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #14181f } path { stroke: #6d7a8b }
  }
"""


def draw(graph: Graph) -> str:
    """The graph as an SVG; items of one `foreach` or `matrix` are one box."""
    items: dict[str, list[str]] = {}
    for name in graph.stages:
        family, _, item = name.partition("@")
        items.setdefault(family, []).extend([item] if item else [])
    edges = _reduced({(before.partition("@")[0], name.partition("@")[0]) for name in graph.stages for before in graph.upstream(name)})
    column: dict[str, int] = {}
    for name in items:
        column[name] = max((column[before] + 1 for before, after in edges if after == name), default=0)
    row = _rows(list(items), column, edges)
    groups = {family: str(graph.stages[_first(family, of)].meta.get("dagster", {}).get("group", "")) for family, of in items.items()}
    hues = dict(zip(dict.fromkeys(groups.values()), _HUES, strict=False))

    width = 2 * _MARGIN + _ACROSS * max(column.values()) + _WIDTH
    height = 2 * _MARGIN + round(_DOWN * max(row.values())) + _HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>The graph of dvc.yaml: {len(graph.stages)} artifacts</title><style>{_STYLE}</style>",
        _TIP,
        f'<rect class="ground" width="{width}" height="{height}"/>',
    ]
    place = {name: (_MARGIN + _ACROSS * column[name], round(_MARGIN + _DOWN * row[name])) for name in items}
    for before, after in sorted(edges):
        (x, y), (end, level) = place[before], place[after]
        x, y, level = x + _WIDTH, y + _HEIGHT // 2, level + _HEIGHT // 2
        lines.append(f'<path marker-end="url(#tip)" d="M{x} {y} C{x + 34} {y} {end - 34} {level} {end - 1} {level}"/>')
    for name, (x, y) in place.items():
        stage, hue = graph.stages[_first(name, items[name])], hues[groups[name]]
        kinds = " · ".join(stage.meta.get("dagster", {}).get("kinds", []))
        label = f"{name}@{', @'.join(items[name])}" if items[name] else name
        box = f'x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" fill="hsl({hue} 70% 94%)" stroke="hsl({hue} 45% 58%)"'
        lines += [
            f"<g><title>{escape(stage.desc)}</title><rect {box}/>",
            f'<text x="{x + 12}" y="{y + 19}"{_squeezed(label)}>{escape(label)}</text>',
            f'<text class="kinds" x="{x + 12}" y="{y + 34}">{escape(kinds)}</text></g>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _first(family: str, items: list[str]) -> str:
    return f"{family}@{items[0]}" if items else family


def _squeezed(label: str) -> str:
    most = _WIDTH - 24
    return f' textLength="{most}" lengthAdjust="spacingAndGlyphs"' if 7.1 * len(label) > most else ""


def _reduced(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges whose ends no longer way connects."""
    after: dict[str, set[str]] = {}
    for before, behind in edges:
        after.setdefault(before, set()).add(behind)

    def beyond(name: str) -> Iterator[str]:
        for following in after.get(name, ()):
            yield following
            yield from beyond(following)

    return {(a, b) for a, b in edges if not any(b in set(beyond(other)) for other in after[a] - {b})}


def _rows(names: list[str], column: dict[str, int], edges: set[tuple[str, str]]) -> dict[str, float]:
    """A row for each: the mean of the rows of what it is made from, moved down where that is taken in its column."""
    row: dict[str, float] = {}
    lowest: dict[int, float] = {}
    ground = -1.0
    for name in names:
        above = [row[before] for before, after in edges if after == name]
        if not above:
            # Each source begins below everything that is there already.
            ground = max(row.values(), default=-1.0) + 1
        wanted = max(fmean(above) if above else ground, lowest.get(column[name], -1.0) + 1)
        row[name] = lowest[column[name]] = wanted
    return row


if __name__ == "__main__":
    (ROOT / "docs/images/graph.svg").write_text(draw(load_graph(ROOT)), encoding="utf-8")
