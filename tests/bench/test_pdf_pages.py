"""The benchmark of PDF pages draws with the stage's own code, and refuses to time sides that draw other pages."""

import json

import pytest

pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")
pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed (extra: books)")
pytest.importorskip("pdf2image", reason="pdf2image is not installed (extra: books)")

from PIL import ImageOps

from bench import pdf_pages


@pytest.fixture
def text(tmp_path):
    return pdf_pages.text_pdf(tmp_path / "text.pdf", 2)


def test_the_generated_files_are_what_they_are_called(text, tmp_path):
    assert [picture.size for picture in pdf_pages.figment(text, 1024)] == [(791, 1024)] * 2
    found = pdf_pages.check(pdf_pages.scan_pdf(tmp_path / "scan.pdf", 1), 512, {"figment": pdf_pages.figment, "at_size": pdf_pages.at_size})
    assert found["engines"] == ["jpeg"] and found["to_pdfium_at_size"]["lowest_psnr_db"] > 40


def test_all_sides_draw_the_same_pages_and_are_timed(text, capsys):
    found = pdf_pages.measure(text, 256, rounds=1)
    assert found["engines"] == ["pdfium"] and found["to_pdfium_at_size"]["largest_difference"] == 0
    assert set(found["figment_of"]) == set(pdf_pages.sides()) - {"figment"}
    pdf_pages.show("text", 256, found)
    said = capsys.readouterr().out
    assert "with_process" in said and ("aim 0.05" in said) == ("one_by_one" in pdf_pages.sides())
    assert json.dumps(found)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda pictures: pictures[:1], "wrong drew 1 pages, figment 2"),
        (lambda pictures: [picture.rotate(90, expand=True) for picture in pictures], r"page 1: wrong drew \(1024, 791\), figment \(791, 1024\)"),
        (lambda pictures: [ImageOps.invert(picture.convert("RGB")) for picture in pictures], "a page of wrong has a PSNR of"),
    ],
)
def test_a_side_that_draws_other_pages_ends_the_benchmark(text, wrong, words):
    with pytest.raises(SystemExit, match=f"DISAGREE: text.pdf.*{words}"):
        pdf_pages.check(text, 1024, {"figment": pdf_pages.figment, "wrong": lambda path, px: wrong(pdf_pages.figment(path, px))})
