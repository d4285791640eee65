"""The counts that `bench.crawl` promises, on a small site."""

from pathlib import Path

import pytest

pytest.importorskip("scrapy", reason="scrapy is not installed (extra: scrape)")

from bench.crawl import PER_ISSUE, Site, check_counts, contents_of_ours, kill_at_half, nights, run_ours


def test_an_unchanged_night_asks_for_no_image_and_a_new_issue_for_its_own_alone(tmp_path: Path) -> None:
    site = Site(3)
    try:
        run_ours(site, tmp_path)
        first = site.take_counts()
        counts = nights(site, tmp_path)
        papers, images = contents_of_ours(tmp_path)
        again = tmp_path / "again"
        again.mkdir()
        (again / "params.yaml").write_text((tmp_path / "params.yaml").read_text())
        site.take_counts()
        counts["killed_at_half"] = kill_at_half(site, again)
    finally:
        site.close()

    assert first == {"pages": 3, "images": 3 * PER_ISSUE, "robots": 1}
    assert len(papers) == len(images) == 4 * PER_ISSUE
    assert check_counts(counts) == []
