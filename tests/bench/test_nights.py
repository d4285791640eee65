"""The counts and bytes that `bench.nights` promises, on a small store."""

import pytest

pytest.importorskip("lxml", reason="lxml is not installed (extra: scrape)")

from bench.nights import faults, measure


@pytest.mark.slow
def test_a_night_reads_and_merges_what_changed_and_gives_the_bytes_of_a_build_from_scratch() -> None:
    found = measure(200)
    assert faults(found) == []
    builds = found["builds"]
    assert (builds["first"]["papers_merged"], builds["first"]["texts_compared"]) == (200, 200)
    # 6 changed, 1 retracted and 3 new papers, and one of another title in its list.
    assert builds["1 %"]["papers_merged"] <= 11 and builds["1 %"]["texts_compared"] <= 10 and builds["1 %"]["rows"] == 202
