"""Real journals, served from loopback and crawled with the real spider, become papers and pictures; what each source gave is counted."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

pytest.importorskip("scrapy", reason="scrapy is not installed (extra: scrape)")

from assets.papers.sources_report import SourceReport, main, report_sources

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]
PRESET = ROOT / "presets" / "shared.yaml"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """A folder with the preset's parameters, where the crawl and the building of papers and pictures have been run."""
    folder = tmp_path_factory.mktemp("shared_sites")
    params = YAML(typ="safe").load(PRESET.read_text())
    for source in params["journal_pages"]["sources"]:
        # The preset's paths are those of a checkout beside `shared`.
        source["folder"] = str(shared_data / source["folder"].partition("shared/data/")[2])
    with open(folder / "params.yaml", "w") as stream:
        YAML(typ="safe").dump({name: params[name] for name in ("journal_pages", "papers", "toc_images")}, stream)
    (folder / "retractions.yaml").write_text("[]\n")
    run(folder, "assets.papers.crawl")
    run(folder, "assets.papers.build")
    run(folder, "assets.papers.toc_images")
    return folder


def run(folder: Path, module: str) -> str:
    """`python -m module` in `folder`; what it said."""
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def reports(project: Path) -> dict[str, SourceReport]:
    return {report.name: report for report in report_sources(project / "data")}


def facts(report: SourceReport) -> tuple[int | None, ...]:
    counts = (report.papers, report.with_title, report.with_abstract, report.with_picture, report.complete)
    return (report.pages, *counts, report.pictures, report.usable)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        #                          pages, papers: all, with title, abstract, picture, all three; pictures: stored, decoded
        ("programming_historian", (163, 160, 160, 160, 160, 160, 112, 112)),
        ("distill", (27, 13, 13, 13, 13, 13, 13, 13)),
        ("open_access_pages", (10, 9, 9, 9, 0, 0, 0, 0)),
        ("plos", (58, 57, 57, 52, 0, 0, 0, 0)),
        ("arxiv_quant_ph", (32, 3_191, 3_191, 3_191, 0, 0, 0, 0)),
        ("arxiv_cond_mat", (2, 112, 112, 112, 0, 0, 0, 0)),
        ("chem_bla_ics", (475, 474, 474, 0, 172, 0, 172, 172)),
    ],
)
def test_each_source_gives_what_it_has(reports, source, expected):
    assert facts(reports[source]) == expected


def test_160_of_161_lessons_are_complete_and_the_other_one_says_why(reports, project):
    lessons = reports["programming_historian"]
    assert (lessons.pages - 2, lessons.complete) == (161, 160)
    assert sum(lessons.set_aside.values()) == 1
    (rejected,) = [row for row in pq.read_table(project / "data/papers/rejected.parquet").to_pylist() if row["source"] == "programming_historian"]
    assert rejected["words"] and rejected["where"].startswith("http://programming-historian.example/")


def test_translations_share_the_picture_of_their_original(project, reports):
    rows = [row for path in (project / "data/papers").glob("papers-*.parquet") for row in pq.read_table(path).to_pylist()]
    lessons = {row["id"]: row for row in rows if row["source"] == "programming_historian"}
    translations = [row for row in lessons.values() if row["translation_of"] in lessons]
    assert len(translations) >= 40
    assert all(row["image_sha256"] == lessons[row["translation_of"]]["image_sha256"] for row in translations)


def test_what_was_not_taken_is_counted_with_its_reason(reports):
    assert {name: dict(report.set_aside) for name, report in reports.items() if report.set_aside} == {
        "programming_historian": {"problem_on_page": 1},
        # Their pictures are on the publishers' own servers, which these folders are not. The crawl notes each foreign server once.
        "open_access_pages": {"host_not_allowed": 3, "picture_not_stored": 4},
        "plos": {"host_not_allowed": 1, "picture_not_stored": 52},
        "chem_bla_ics": {"picture_not_stored": 1},
    }


def test_every_paper_has_a_licence_and_what_is_unknown_says_so(project, reports):
    rows = [
        row for path in (project / "data/papers").glob("papers-*.parquet") for row in pq.read_table(path, columns=["source", "licence"]).to_pylist()
    ]
    assert all(row["licence"] for row in rows)
    assert {row["source"] for row in rows if row["licence"] == "unknown"} == {"chem_bla_ics"}


def test_the_days_are_those_of_the_frozen_sites(project):
    for path in (project / "data/papers").glob("papers-*.parquet"):
        assert {str(day) for day in pq.read_table(path, columns=["first_seen"])["first_seen"].to_pylist()} == {"2026-01-05"}


def test_a_second_crawl_asks_for_no_article_and_no_picture_and_writes_nothing(project):
    before = {path.name: path.read_bytes() for path in (project / "data/journal_pages").iterdir()}
    said = run(project, "assets.papers.crawl")
    assert "nothing new" in said and "0 responses stored" in said
    assert {path.name: path.read_bytes() for path in (project / "data/journal_pages").iterdir()} == before


def test_the_report_is_a_markdown_table(project, reports, capsys):
    assert main(["--data", str(project / "data")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(reports)
    assert {line.count("|") for line in lines} == {11}
