"""Sites by the names that params.yaml uses, the journal's edition on disk, and harvested files as a repository."""

import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from assets.demo_sites import open_site, site_named
from assets.demo_sites.opening import read_edition, write_edition
from tests.assets.demo_sites.proxying import client_of
from tests.assets.demo_sites.reading import walk


def test_the_edition_is_the_first_until_another_is_written_down(tmp_path):
    state = tmp_path / "state"
    assert read_edition(state) == 1
    write_edition(12, state)
    assert read_edition(state) == 12


@pytest.mark.parametrize("words", ["", "two", "0", "-1", "1.5", "99999", "１"])
def test_an_edition_that_is_none_is_told_with_what_to_do(tmp_path, words):
    (tmp_path / "edition").write_text(words)
    with pytest.raises(ValueError, match=r"expected the number of an edition.*remove the file"):
        read_edition(tmp_path)


def test_the_journal_is_served_in_its_edition_through_a_proxy(tmp_path):
    pytest.importorskip("PIL")
    write_edition(3, tmp_path)
    with open_site("imaginary_letters", state=tmp_path) as proxy, client_of(proxy) as client:
        answer = client.get("http://journal.imaginary-letters.example/loi/imlett")
    assert answer.status == 200
    assert answer.headers["date"] == "Thu, 08 Jan 2026 04:00:00 GMT"


def test_a_folder_tells_the_real_day_unless_it_is_frozen(tmp_path):
    assert abs((site_named(folder=tmp_path, hosts=["a.example"]).now() - datetime.now(UTC)).total_seconds()) < 60
    assert str(site_named("frozen_folder", folder=tmp_path, hosts=["a.example"]).now().date()) == "2026-01-05"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("imaginary_leters",), "not known; there are: imaginary_letters"),
        (("frozen_folder",), "needs `folder`"),
        ((), "needs `folder`"),
    ],
)
def test_a_site_that_cannot_be_opened_says_why(arguments, words):
    with pytest.raises(ValueError, match=words):
        site_named(*arguments, hosts=["a.example"])


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        site_named(folder=tmp_path / "nowhere", hosts=["a.example"])
    with pytest.raises(ValueError, match="needs a host name"):
        site_named(folder=tmp_path)


def test_harvested_files_are_served_with_tokens_and_a_damaged_one_is_left_out(tmp_path):
    metadata = "<metadata><title>T{0}</title><description> D&amp;{0}\n</description><date>1994-06-09</date></metadata>"
    record = f"<record><header><identifier>oai:x:{{0}}</identifier></header>{metadata}</record>"
    (tmp_path / "a.xml").write_text("<ListRecords>" + "".join(record.format(number) for number in range(150)) + "</ListRecords>")
    (tmp_path / "b.xml").write_text("<ListRecords><record>")
    (tmp_path / "c.csv").write_text('id,title,abstract\n0704.0333,"A title","  Two blanks"\n')
    (tmp_path / "d.csv").write_text('id,title,abstract\nnonsense,"A title","text"\n')
    site = site_named("oai_files", folder=tmp_path, hosts=["oai.example"])
    papers, _, asked = walk(site, "http://oai.example/oai?verb=ListRecords&metadataPrefix=oai_dc", "oai", "api", kinds=("api",))
    assert (len(papers), len(asked)) == (151, 2)
    assert {(paper.title, paper.abstract) for paper in papers} >= {("T3", "D&3"), ("A title", "Two blanks")}
    assert [name.partition(":")[0] for name in site.skipped] == ["b.xml", "d.csv"]


@pytest.mark.shared_data
@pytest.mark.parametrize(("folder", "records"), [("arxiv_oai", 3_191), ("arxiv_condmat", 112)])
def test_the_real_harvests_are_served_whole(shared_data, folder, records):
    site = site_named("oai_files", folder=shared_data / "journals" / folder, hosts=["arxiv.example"])
    papers, _, _ = walk(site, "http://arxiv.example/oai?verb=ListRecords&metadataPrefix=oai_dc", "oai", "api", kinds=("api",))
    assert len({paper.key for paper in papers}) == records
    assert all(paper.title and paper.abstract for paper in papers)


def test_the_command_serves_until_it_is_interrupted(tmp_path):
    (tmp_path / "page.html").write_text("<p>Hello</p>")
    words = [sys.executable, "-m", "assets.demo_sites", "frozen_folder", "--folder", str(tmp_path), "--host", "files.example"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split("/ in a browser")[0]
            with client_of(address) as client:
                assert client.get("/page.html").body == b"<p>Hello</p>"
                assert client.get("http://files.example/page.html").status == 200
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
