"""Page images as a dataset: what a page's shape becomes, its labels, and the program; the making is tested in tests/assets/images/test_dataset.py."""

import numpy
import pytest

pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")
pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed (extra: books)")

from assets.books.page_dataset import main
from formats.image_shards import ImageShards
from formats.tables import read_table
from tests.assets.books.pages.archives import Archive, build
from tests.assets.books.pages.pdfs import pdf, text_page


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Three pages of two items, one of them twice as wide as high, one of unknown licence."""
    monkeypatch.chdir(tmp_path)
    # A white page would not show where it ends: these have a ground of their own.
    ground = b"0.5 0.6 0.7 rg 0 0 9999 9999 re f\n"
    pages = [text_page("one"), text_page("two", size=(800, 400)), text_page("three")]
    for page in pages:
        page.content = ground + page.content
    build(Archive().put("a", pdf(*pages[:2])).put("b", pdf(pages[2]), licence=None), tmp_path / "data", page_px=64)
    (tmp_path / "params.yaml").write_text("page_dataset: {sizes: [64, 16], canvas_px: 64, images_per_shard: 16}\n")
    return tmp_path


def margins(image: numpy.ndarray) -> tuple[int, int]:
    """White rows at the top, and white columns at the left."""
    white = (image == 255).all(axis=0)
    return int(white.all(axis=1).argmin()), int(white.all(axis=0).argmin())


def test_pages_are_padded_and_keep_their_shapes(project, capsys):
    """DeepZine stretched them to squares (defect 7)."""
    assert main(["64", "--workers", "1"]) == 0
    assert "page_dataset@64: 2 pictures in 1 shards" in capsys.readouterr().err
    folder = project / "data/page_dataset@64"
    images = ImageShards(folder)
    assert [margins(image) for image in images] == [(0, 7), (16, 0)] and images.channels == 3
    assert [(row["page_id"], row["item_id"]) for row in read_table(folder / "index.parquet").to_pylist()] == [
        ("a/book.pdf/1", "a"),
        ("a/book.pdf/2", "a"),
    ]
    assert [(row["item_id"], row["reason"]) for row in read_table(folder / "excluded.parquet").to_pylist()] == [("b", "licence_unknown")]
    card = (folder / "README.md").read_text()
    assert "2 pages of books and journals as RGB pictures" in card and "Nothing was stretched or cropped." in card


@pytest.mark.parametrize(("fit", "words"), [("crop", "Nothing was stretched."), ("squash", "Shapes are not what they were.")])
def test_crop_and_squash_fill_the_square_and_the_card_says_so(project, fit, words):
    assert main(["16", "--set", f"fit={fit}"]) == 0
    folder = project / "data/page_dataset@16"
    assert [margins(image) for image in ImageShards(folder)] == [(0, 0), (0, 0)]
    assert words in (folder / "README.md").read_text()


def test_squash_shows_the_whole_page_and_crop_its_middle(project):
    """The bar of the wide page lies in its left part: stretched it is there, cut away it is not."""
    dark = {}
    for fit in ("crop", "squash"):
        assert main(["64", "--set", f"fit={fit}"]) == 0
        dark[fit] = (ImageShards(project / "data/page_dataset@64").image(1) < 20).all(axis=0)[:16].sum(axis=0)
    assert dark["squash"][4:20].min() > 0 and dark["crop"][40:].max() == 0


def test_grey_and_labels(project):
    assert main(["64", "--set", "colours=grey", "--set", "labels=item_id", "--set", "allow_unknown_licence=true"]) == 0
    images = ImageShards(project / "data/page_dataset@64")
    assert (images.channels, len(images), images.label_dim) == (1, 3, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["128"], "page_dataset.sizes has no 128; sizes there: 64, 16"),
        (["16", "--set", "fit=stretch"], "must be one of 'pad', 'crop', 'squash'"),
        (["16", "--set", "labels=title"], "must be one of 'item_id', 'source', 'licence'"),
    ],
)
def test_what_cannot_be_asked_for_is_named(project, capsys, arguments, words):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
