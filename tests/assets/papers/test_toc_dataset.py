"""Table-of-contents images as a dataset: who may be in it, and the program; how it is made is tested in tests/assets/images/test_dataset.py."""

import pytest

pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("lxml", reason="lxml is not installed (extra: scrape)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

from assets.images.gather import GatherConfig
from assets.papers.raw_pages import RawPages
from assets.papers.toc_dataset import main
from assets.papers.toc_images import gather_images
from formats.image_shards import ImageShards
from tests.assets.papers.stores import Store, build, paper, picture, table


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Five pictures, of which one is reserved from text and data mining."""
    monkeypatch.chdir(tmp_path)
    addresses = [f"http://letters.example/{number}.png" for number in range(5)]
    papers = [paper(number, image_url=address, journal=f"Letters {number % 2}") for number, address in enumerate(addresses)]
    store = Store(tmp_path / "raw").page("http://letters.example/toc", *papers)
    for number, address in enumerate(addresses):
        store.picture(address, picture(number), tdm_reserved=True if number == 3 else None)
    build(store, tmp_path / "data/papers")
    with RawPages(tmp_path / "raw") as raw:
        gather_images(GatherConfig(), raw, tmp_path / "data/papers", tmp_path / "data/toc_images", scratch=tmp_path / "scratch")
    (tmp_path / "params.yaml").write_text("toc_dataset: {sizes: [32, 16], canvas_px: 64, images_per_shard: 3, labels: journal}\n")
    return tmp_path


def test_the_program_builds_the_size_asked_for_without_reserved_pictures(project, capsys):
    assert main(["16", "--workers", "1"]) == 0
    assert "toc_dataset@16: 4 pictures in 2 shards" in capsys.readouterr().err
    folder = project / "data/toc_dataset@16"
    assert len(ImageShards(folder)) == 4 and {row["label"] for row in table(folder, "index")} == {"Letters 0", "Letters 1"}
    assert [(row["reason"], len(row["paper_ids"])) for row in table(folder, "excluded")] == [("tdm_reserved", 1)]
    assert "4 graphical abstracts of scientific papers as RGB pictures" in (folder / "README.md").read_text()
    assert main(["16", "--set", "respect_tdm_reservation=false"]) == 0
    assert len(ImageShards(folder)) == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["128"], "toc_dataset.sizes has no 128; sizes there: 32, 16"),
        (["16", "--workers", "0"], "--workers must be at least 1, found 0"),
        (["16", "--set", "labels=colour"], "must be one of 'journal', 'year', 'source', 'licence'"),
    ],
)
def test_what_cannot_be_asked_for_is_named(project, capsys, arguments, words):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
