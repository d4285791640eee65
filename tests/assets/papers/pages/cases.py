"""Saved pages and what they say: one folder a case, `page.*` with `meta.json` beside it and the expected `output.json`. All content is made up.

To add one, save a page of your own making and its meta.json, run `python -m tests.assets.papers.pages.cases PAGE/CASE`, and read every line of the
output that it writes before you believe it.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from assets.papers.items import Page, Parsed
from assets.papers.pages import PAGES

FIXTURES = Path(__file__).parent / "fixtures"
CASES = sorted(str(meta.parent.relative_to(FIXTURES)) for meta in FIXTURES.glob("*/*/meta.json"))


def saved_page(case: str) -> Page:
    folder = FIXTURES / case
    meta = json.loads((folder / "meta.json").read_text())
    (path,) = folder.glob("page.*")
    return Page(body=path.read_bytes(), source="imaginary", **meta)


def parsed(case: str) -> Parsed:
    return PAGES[case.partition("/")[0]](saved_page(case))


def as_json(result: Parsed) -> dict[str, Any]:
    """What a page says, without the fields that it leaves open."""
    return {
        name: [{key: str(value) for key, value in dataclasses.asdict(entry).items() if value} for entry in getattr(result, name)]
        for name in ("papers", "links", "withdrawals", "problems")
        if getattr(result, name)
    }


if __name__ == "__main__":
    for chosen in sys.argv[1:]:
        (FIXTURES / chosen / "output.json").write_text(json.dumps(as_json(parsed(chosen)), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
