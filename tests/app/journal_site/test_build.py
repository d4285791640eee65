import json
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from app.journal_site.build import JournalSiteConfig, build, main, outside_links
from formats.tables import read_table, table_from_rows, write_table
from stages.artifact_id import content_id
from tests.app.journal_site.papers_folder import TITLES, write_papers
from training.words.imaginary.tables import PAPERS, ImaginaryError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ with seven papers and their site, five on a page."""
    data = tmp_path_factory.mktemp("site") / "data"
    write_papers(data / "imaginary_papers")
    build(data / "imaginary_papers", JournalSiteConfig(papers_per_page=5), data / "journal_site")
    return data


def pages(made: Path) -> list[Path]:
    return sorted((made / "journal_site").rglob("*.html"))


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.metas: list[dict[str, str | None]] = []
        self.addresses: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.data: list[str] = []
        self._is_data = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [value for key in ("href", "src") if (value := found.get(key)) is not None]
        self._is_data = found.get("type") == "application/ld+json"
        if tag == "meta":
            self.metas.append(found)
        if tag == "img":
            self.images.append(found)

    def handle_data(self, data: str) -> None:
        if self._is_data:
            self.data.append(data)


def seen(page: Path) -> Seen:
    parser = Seen()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_every_page_says_that_its_papers_do_not_exist_to_people_and_to_machines(made: Path):
    assert len(pages(made)) == 2 + 7 + 2
    for page in pages(made):
        text, found = page.read_text(encoding="utf-8"), seen(page)
        assert text.count("None of the papers on this site exist") >= 2
        metas = {meta["name"]: meta["content"] for meta in found.metas if meta.get("name")}
        assert "noindex" in str(metas["robots"])
        assert not [name for name in metas if re.match(r"(citation_|dc\.|dcterms|prism|eprints|bepress)", str(name), re.IGNORECASE)]
        work = json.loads("".join(found.data))
        assert (work["@type"], work["genre"]) == ("CreativeWork", "fiction")
        assert "ScholarlyArticle" not in text and "doi.org" not in text
    assert (made / "journal_site/robots.txt").read_text() == "User-agent: *\nDisallow: /\n"


def test_everything_that_a_page_names_lies_in_the_site(made: Path):
    for page in pages(made):
        for address in seen(page).addresses:
            path = address.partition("#")[0]
            assert not re.match(r"[a-z]+:|/", address), f"{page.name} names {address}"
            assert (page.parent / path).is_file() or address == "#main", f"{page.name} names {address}"


def test_foreign_text_is_shown_and_never_markup(made: Path):
    for page in pages(made):
        text = page.read_text(encoding="utf-8")
        assert "<script>document" not in text and "<img src=x" not in text and "<b>of" not in text
    assert TITLES[2] in json.loads((made / f"journal_site/papers/{ids(made)[2]}.json").read_text())["title"]
    works = [json.loads("".join(seen(made / f"journal_site/papers/{id}.html").data))["name"] for id in ids(made)]
    assert works == list(TITLES)


def ids(made: Path) -> list[str]:
    return [str(id) for id in read_table(made / "imaginary_papers/papers.parquet", ["id"]).column("id").to_pylist()]


def test_a_papers_page_tells_lineage_seeds_and_its_nearest_real_neighbour(made: Path):
    text = (made / f"journal_site/papers/{ids(made)[0]}.html").read_text(encoding="utf-8")
    for told in (
        "0d4f6e8a7c9b1d2e3f4a5b6c7d8e9f00.dir",
        "title_gpt2",
        "truncation <code>0.8</code>",
        "nearest real",
        "A Real Title &lt;b&gt;of",
        "41%",
    ):
        assert told in text
    item = json.loads((made / f"journal_site/papers/{ids(made)[0]}.json").read_text())
    assert item["genre"] == "fiction" and item["lineage"]["toc_titler"]["inputs"] == {"title_gpt2": "3cd4f6e8a7c9b1d2e3f4a5b6c7d8e9f0.dir"}
    assert (made / f"journal_site/papers/{item['picture']}").read_bytes()[:4] == b"\x89PNG"


def test_every_picture_has_an_alternative_text_and_its_size(made: Path):
    images = [image for page in pages(made) for image in seen(page).images]
    assert len(images) == 14 and all(image["alt"] and image["width"] == "128" for image in images)


def test_the_same_papers_make_the_same_bytes(made: Path, tmp_path: Path):
    build(made / "imaginary_papers", JournalSiteConfig(papers_per_page=5), tmp_path / "again")
    assert content_id(tmp_path / "again") == content_id(made / "journal_site")


def params(tmp_path: Path, text: str = "journal_site: {}\n") -> list[str]:
    (tmp_path / "params.yaml").write_text(text)
    return ["--params", str(tmp_path / "params.yaml"), "--data", str(tmp_path / "data")]


def test_the_program_makes_the_site_and_says_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_papers(tmp_path / "data/imaginary_papers", 2)
    assert main(params(tmp_path, "journal_site: {name: 'Letters & <Dreams>'}\n")) == 0
    assert "2 papers" in capsys.readouterr().err
    assert "Letters &amp; &lt;Dreams&gt;" in (tmp_path / "data/journal_site/index.html").read_text()


def test_no_papers_is_an_error_that_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(params(tmp_path)) == 1
    assert "figment materialize imaginary_papers" in capsys.readouterr().err
    write_papers(tmp_path / "data/imaginary_papers", 0)
    assert main(params(tmp_path)) == 1
    assert "no paper in it" in capsys.readouterr().err
    assert not (tmp_path / "data/journal_site").exists()


def test_damaged_papers_are_named(tmp_path: Path):
    folder = write_papers(tmp_path / "p", 2)
    lineage = (folder / "lineage.json").read_text()
    (folder / "lineage.json").write_text("{")
    with pytest.raises(ImaginaryError, match=r"lineage\.json"):
        build(folder, JournalSiteConfig(), tmp_path / "site")
    (folder / "lineage.json").write_text(lineage)
    shard = bytearray((folder / "pictures-00000.zip").read_bytes())
    shard[100] ^= 255
    (folder / "pictures-00000.zip").write_bytes(shard)
    with pytest.raises(ImaginaryError, match=r"pictures-00000\.zip"):
        build(folder, JournalSiteConfig(), tmp_path / "site")
    table = read_table(folder / "papers.parquet").drop_columns(["nearest_title"])
    (folder / "papers.parquet").unlink()
    write_table(folder / "papers.parquet", table)
    with pytest.raises(ImaginaryError, match=r"papers\.parquet"):
        build(folder, JournalSiteConfig(), tmp_path / "site")


def changed(folder: Path, **values: object) -> Path:
    """The papers in `folder` with other values in the first row."""
    rows = read_table(folder / "papers.parquet").to_pylist()
    (folder / "papers.parquet").unlink()
    write_table(folder / "papers.parquet", table_from_rows(PAPERS, [rows[0] | values, *rows[1:]]))
    return folder


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"id": "../../escaped"}, r"expected \[0-9a-f\]\{16\}"),
        ({"shard": "../../pictures-00000.zip"}, "expected pictures-"),
        ({"member": "../../escaped.png"}, "cannot be read"),
    ],
)
def test_a_name_that_leads_elsewhere_reads_and_makes_no_file(values: dict[str, object], words: str, tmp_path: Path):
    with pytest.raises(ImaginaryError, match=words):
        build(changed(write_papers(tmp_path / "p", 1), **values), JournalSiteConfig(), tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_two_papers_of_one_id_are_refused(tmp_path: Path):
    folder = write_papers(tmp_path / "p", 2)
    id = read_table(folder / "papers.parquet").to_pylist()[1]["id"]
    with pytest.raises(ImaginaryError, match="more than once"):
        build(changed(folder, id=id), JournalSiteConfig(), tmp_path / "site")


@pytest.mark.parametrize(
    "title",
    ["</script><script>alert(1)</script>", "</title><base href=//evil.example>", "javascript:alert(1)", "{{7*7}} ${id} $id $$", "a\u2028b\x00c",
     "\u202egnp.exe", "👩\u200d🔬 <!-- -->", '" onload="x', "href=https://evil.example"],
)  # fmt: skip
def test_hostile_titles_are_words_on_every_page(title: str, tmp_path: Path):
    build(changed(write_papers(tmp_path / "p", 1), title=title), JournalSiteConfig(), tmp_path / "site #1")
    assert outside_links(tmp_path / "site #1") == []
    (page,) = (tmp_path / "site #1/papers").glob("*.html")
    text = page.read_text(encoding="utf-8")
    assert text.count("<script") == 2 and "<base" not in text and "\u2028" not in text.partition("ld+json")[2].partition("</script>")[0]
    assert escape(title) in text and json.loads("".join(seen(page).data))["name"] == title


def test_outside_links_are_counted(made: Path, tmp_path: Path):
    assert outside_links(made / "journal_site") == []
    (tmp_path / "a.html").write_text("<p>see https://a.example <a class=x\nhref='HTTPS://b.example'>b</a><img src=//c.example/c.png>")
    (tmp_path / "a.css").write_text("@import 'http://d.example'; p { background: url( data:x ) }")
    assert [link.partition(": ")[2] for link in outside_links(tmp_path)] == ["http://d.example", "data:x", "HTTPS://b.example", "//c.example/c.png"]


def test_pages_of_many_name_the_first_the_last_and_those_around(tmp_path: Path):
    build(write_papers(tmp_path / "p", 24), JournalSiteConfig(papers_per_page=1), tmp_path / "site")
    links = [link for link in seen(tmp_path / "site/page-12.html").addresses if link.startswith("page-")]
    assert links == [f"page-{number}.html" for number in (10, 11, 12, 13, 14, 24)]
    assert (tmp_path / "site/page-12.html").read_text().count("<span>…</span>") == 2
    assert "…" not in (tmp_path / "site/index.html").read_text().partition('class="pager"')[2].partition("page-24")[0].partition("page-3")[0]


@pytest.mark.parametrize("wrong", [{"papers_per_page": 0}, {"name": " "}, {"motto": "x" * 121}])
def test_settings_out_of_bounds_are_refused(wrong: dict[str, object]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        JournalSiteConfig(**wrong)
