"""PubMed Central and Europe PMC: lists lead to articles, articles to the pictures of their packages, and `+open` keeps what is open."""

import json
from dataclasses import replace

import pytest

from assets.papers.items import Page, Parsed
from assets.papers.packages import MEMBER
from assets.papers.page_objects import find_page_object
from assets.papers.pages import PAGES
from tests.assets.papers.packages_maker import FIGURE, article, members, tar_gz, zipped

REST = "https://rest.example/europepmc/webservices/rest"
PACKAGE = "https://files.example/oa_package/PMC1.tar.gz"


def read(body: bytes, url: str = PACKAGE, *, page: str = "pmc", kind="article") -> Parsed:
    return find_page_object(page)(Page(url, body, kind, "pmc"))


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_a_package_gives_its_article_with_the_graphical_abstract(pack):
    (paper,) = read(pack(members())).papers
    assert (paper.doi, paper.journal, paper.volume, paper.issue, paper.pages) == ("10.5555/imag.1", "Imaginary Chemistry", "4", "2", "10–19")
    assert (str(paper.date), paper.licence, paper.abstract) == ("2024-03-02", "CC-BY-4.0", "They are solid, part 1.")
    assert paper.image_url == f"{PACKAGE}!/PMC1/imag-1-ga.jpg", "the picture and not its thumbnail"
    assert [link.url for link in read(pack(members())).links] == [paper.image_url]


@pytest.mark.parametrize(
    "abstract",
    [
        '<abstract abstract-type="graphical-abstract"><p><graphic xlink:href="imag-1-ga.tif"/></p></abstract>',
        '<abstract abstract-type="toc"><p><graphic xlink:href="imag-1-ga"/></p></abstract>',
        '<abstract><p content-type="toc-graphic"><graphic xlink:href="imag-1-ga" id="ab-tgr1"/></p></abstract>',
        '<abstract><fig><graphic specific-use="thumbnail" xlink:href="imag-1-g001"/><graphic xlink:href="imag-1-ga"/></fig></abstract>',
    ],
)
def test_how_publishers_write_graphical_abstracts(abstract):
    files = members(**{"PMC1/imag.1.nxml": article(abstract=abstract)})
    assert read(tar_gz(files)).papers[0].image_url.endswith("/imag-1-ga.jpg")


@pytest.mark.parametrize(
    "marked",
    ['<fig fig-type="graphical-abstract"', '<fig id="x"><label>Graphical Abstract</label></fig><fig specific-use="toc"', '<fig fig-type="TOC"'],
)
def test_figures_that_call_themselves_graphical_abstracts(marked):
    body = FIGURE + marked + '><graphic xlink:href="imag-1-ga"/></fig>'
    files = members(**{"PMC1/imag.1.nxml": article(abstract="", body=body)})
    assert read(tar_gz(files)).papers[0].image_url.endswith("/imag-1-ga.jpg")


def test_the_first_figure_is_a_picture_only_where_that_is_asked_for():
    package = tar_gz(members(**{"PMC1/imag.1.nxml": article(abstract="")}))
    assert read(package).papers[0].image_url == "" and read(package).links == ()
    (paper,) = read(package, page="pmc_first_figure").papers
    assert (paper.image_url, paper.caption) == (f"{PACKAGE}!/PMC1/imag-1-g001.jpg", "It grows.")
    # A formula drawn as a picture is no figure, and a figure that the package lacks is passed by.
    formula = article(
        abstract="", body='<p><inline-formula><graphic xlink:href="imag-1-ga"/></inline-formula></p><fig><graphic xlink:href="gone"/></fig>'
    )
    assert read(tar_gz(members(**{"PMC1/imag.1.nxml": formula})), page="pmc_first_figure").papers[0].image_url == ""


def test_captions_inside_an_abstract_are_no_part_of_it():
    drawn = article(abstract="").replace(b"<p>They are", b"<p><fig><label>Figure 0</label><caption><p>Click.</p></caption></fig>They are")
    assert read(drawn, f"{REST}/PMC1/fullTextXML").papers[0].abstract == "They are solid, part 1."


def test_only_open_licences_where_that_is_asked_for():
    closed = article(licence="https://creativecommons.org/licenses/by-nc-nd/4.0/")
    package = tar_gz(members(**{"PMC1/imag.1.nxml": closed}))
    assert read(package).papers[0].licence == "CC-BY-NC-ND-4.0"
    left = read(package, page="pmc+open")
    assert (left.papers, left.links) == ((), ())
    assert "1 of 1 papers name no open licence (named: CC-BY-NC-ND-4.0)" in left.problems[0].words
    assert read(tar_gz(members()), page="pmc+open") == read(tar_gz(members()))
    with pytest.raises(ValueError, match="page 'pcm' is not known.*pmc"):
        find_page_object("pcm+open")


def test_a_bad_package_is_one_problem():
    for body in (tar_gz({"../x.nxml": article()}), tar_gz(members())[:-40], zipped(members())[:300], tar_gz({"PMC1/readme.txt": b"nothing"})):
        result = read(body)
        assert result.papers == () and len(result.problems) == 1 and "package" in result.problems[0].words
    # Europe PMC's packages hold pictures alone.
    assert read(zipped({"a.jpg": b"x"}), kind="api") == Parsed()


def test_full_text_points_into_the_package_beside_it():
    assert read(article(), f"{REST}/PMC1/fullTextXML").papers[0].image_url == f"{REST}/PMC1/supplementaryFiles{MEMBER}imag-1-ga"


@pytest.mark.parametrize("stated", ["imag-1-ga", "imag-1-ga.tif", "imag-1-ga.jpg"])
def test_the_bucket_has_every_figure_as_a_jpg(stated):
    drawn = article(abstract=f'<abstract abstract-type="graphical"><p><graphic xlink:href="{stated}"/></p></abstract>')
    assert read(drawn, "https://bucket.example/PMC1.2/PMC1.2.xml").papers[0].image_url == "https://bucket.example/PMC1.2/imag-1-ga.jpg"


# Lists


def result(number: int, **changed) -> dict:
    """One result of Europe PMC's search, with the fields that are read and some that are not."""
    return {
        "id": str(number), "source": "MED", "pmid": str(number), "pmcid": f"PMC{number}", "doi": f"10.5555/IMAG.{number}",
        "title": f"On imaginary solids, part {number}.", "authorString": "Nobody N.", "pageInfo": "10-19", "language": "eng", "isOpenAccess": "Y",
        "journalInfo": {"volume": "4", "issue": "2", "yearOfPublication": 2024, "journal": {"title": "Imaginary chemistry", "issn": "1234-5678"}},
        "abstractText": "<h4>Abstract</h4>They are <i>solid</i>.", "license": "cc by", "electronicPublicationDate": "2024-03-02",
        "pubTypeList": {"pubType": ["research-article", "Journal Article"]},
    } | changed  # fmt: skip


def search(*results: dict, mark: str = "AoIIP4AAACg0Mg==") -> bytes:
    return json.dumps({"version": "6.9", "hitCount": 2, "nextCursorMark": mark, "resultList": {"result": list(results)}}).encode()


SEARCH = f"{REST}/search?query=OPEN_ACCESS:y&format=json&resultType=core&pageSize=100&cursorMark="


def test_a_search_gives_papers_their_full_text_and_the_next_page():
    found = read(search(result(1), result(2, isOpenAccess="N", license="cc by-nc-nd", doi="")), SEARCH + "*", kind="api")
    first, second = found.papers
    assert (first.key, first.journal, first.pages, first.licence, first.language) == ("10.5555/imag.1", "Imaginary chemistry", "10-19", "CC-BY", "en")
    assert first.title == "On imaginary solids, part 1" and first.abstract == "They are solid."
    assert (second.key, second.licence, second.url) == ("MED/2", "CC-BY-NC-ND", "https://europepmc.org/article/PMC/PMC2")
    assert [(link.url, link.kind) for link in found.links] == [
        (f"{REST}/PMC1/fullTextXML", "article"),
        (SEARCH + "AoIIP4AAACg0Mg%3D%3D", "api"),
    ]
    assert find_page_object("pmc+open")(Page(SEARCH, search(result(2, license="cc by-nc")), "api", "x")).links[0].kind == "api", "not followed"
    # The last page repeats its own mark, or has none.
    assert len(read(search(result(1)), SEARCH + "AoIIP4AAACg0Mg%3D%3D", kind="api").links) == 1
    assert len(read(search(result(1), mark=""), SEARCH + "*", kind="api").links) == 1


def test_a_search_tells_of_retractions_and_sets_bad_results_aside():
    bodies = [
        result(1, pubTypeList={"pubType": ["Retracted Publication"]}),
        result(2, pubTypeList={"pubType": ["Retraction of Publication"]}),
        result(3, title="", doi=""),
        "nonsense",
        result(4, journalInfo=None, pubTypeList=None, license=None, title=7),
    ]
    found = read(search(*bodies), SEARCH + "*", kind="api")
    assert [(paper.key, paper.status) for paper in found.papers] == [("10.5555/imag.1", "retracted"), ("10.5555/imag.4", "published")]
    assert len(found.problems) == 2
    assert "expected resultList.result" in read(b'{"errCode": 404}', SEARCH + "*", kind="api").problems[0].words


OA = """<OA><responseDate>2026-05-05 10:00:00</responseDate><request>https://www.ncbi.nlm.nih.gov/pmc/utils/oa/oa.fcgi?from=2026-05-01</request>
<records returned-count="3" total-count="5000">
<record id="PMC1" citation="Imag Chem. 2024; 4(2):10-19" license="CC BY" retracted="no"><link format="pdf" href="ftp://files.example/PMC1.pdf"/>
 <link format="tgz" updated="2026-05-01 01:02:03" href="ftp://files.example/oa_package/PMC1.tar.gz"/></record>
<record id="PMC2" license="CC BY" retracted="yes"><link format="tgz" updated="2026-05-01" href="ftp://files.example/oa_package/PMC2.tar.gz"/></record>
<record id="PMC3" license="none" retracted="no"><link format="pdf" href="ftp://files.example/PMC3.pdf"/></record>
<resumption><link token="abc!def" href="https://www.example/pmc/utils/oa/oa.fcgi?resumptionToken=abc%21def"/></resumption></records></OA>"""


def test_the_oa_service_leads_to_packages_by_https():
    found = read(OA.encode(), "https://www.example/pmc/utils/oa/oa.fcgi?from=2026-05-01", kind="api")
    assert [(link.url, link.kind) for link in found.links] == [
        (PACKAGE, "article"),
        ("https://www.example/pmc/utils/oa/oa.fcgi?resumptionToken=abc%21def", "api"),
    ]
    assert [(notice.key, notice.reason) for notice in found.withdrawals] == [(PACKAGE.replace("PMC1", "PMC2"), "retracted")]
    assert [problem.words.split(";")[0] for problem in found.problems] == ["record PMC3 has no package (a link of format tgz)"]
    later = OA.replace("2026-05-01 01:02:03", "2026-06-01 01:02:03")
    assert read(later.encode(), kind="api").links[0].fingerprint != found.links[0].fingerprint, "a new package is asked for again"


def test_errors_of_the_oa_service_are_told_but_an_empty_answer_is_none():
    answer = '<OA><request/><error code="{}">words</error></OA>'
    assert read(answer.format("idIsNotOpenAccess").encode(), kind="api").problems[0].words == "the OA service answers idIsNotOpenAccess: words"
    assert read(answer.format("noRecordsMatch").encode(), kind="api") == Parsed()


def test_the_bucket_lists_the_newest_version_of_each_article():
    keys = [
        "PMC1.1/PMC1.1.xml",
        "PMC1.10/PMC1.10.xml",
        "PMC1.2/PMC1.2.xml",
        "PMC2.1/PMC2.1.xml",
        "PMC2.1/PMC2.1.json",
        "PMC2.1/fig1.jpg",
        "README.txt",
    ]
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-09-01T00:00:00Z</LastModified><ETag>&quot;{key}&quot;</ETag></Contents>" for key in keys
    )
    body = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>pmc</Name>{contents}<NextContinuationToken>1/x=</NextContinuationToken>'
    found = read(f"{body}</ListBucketResult>".encode(), "https://bucket.example/?list-type=2&prefix=PMC", kind="api")
    assert [link.url for link in found.links] == [
        "https://bucket.example/PMC1.10/PMC1.10.xml",
        "https://bucket.example/PMC2.1/PMC2.1.xml",
        "https://bucket.example/?list-type=2&prefix=PMC&continuation-token=1%2Fx%3D",
    ]
    assert len({link.fingerprint for link in found.links}) == 3


def test_a_folder_of_packages_is_a_list_too():
    body = b'<!doctype html><html><body><ul><li><a href="PMC1.tar.gz">PMC1.tar.gz</a> 2026-01-01 7</li><li><a href="notes.txt">notes</a></li></ul>'
    found = read(body, "https://files.example/oa_package/", kind="index")
    assert [(link.url, link.kind) for link in found.links] == [(PACKAGE, "article")]


def test_every_kind_of_answer_is_read_by_one_page_object_and_damage_by_none():
    for body in (tar_gz(members()), article(), search(result(1)), OA.encode()):
        for cut in range(0, len(body), max(1, len(body) // 40)):
            page = Page(PACKAGE, body[:cut], "api", "x")
            for name in ("pmc", "pmc_first_figure"):
                assert isinstance(PAGES[name](page), Parsed) and isinstance(PAGES[name](replace(page, kind="index")), Parsed)
