"""Pictures and titles find each other, whatever the pictures are, and what does not fit is counted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from formats.text_tables import read_paper_texts
from tests.training.words.captions.drawn import draw, paper, titles, write_data, write_papers, write_pictures, write_title_model
from training.fine_tuning.examples import NO_LABEL, TuningError
from training.words.captions.networks import new_processor
from training.words.captions.pairs import Pictures, TitledPictures, read_pairs, to_uint8, varied


def test_papers_without_their_picture_are_counted_and_left_out(tmp_path):
    names = write_pictures(tmp_path / "toc_dataset@32", [draw(title, 32) for title in titles()[:3]])
    rows = [paper(0, "a", names[0]), paper(1, "b", None), paper(2, "c", "f" * 64), paper(3, "d", names[2], "test")]
    write_papers(tmp_path, rows)
    pairs = read_pairs(tmp_path, 32, new_processor(32))
    assert {split: [one.title for one in found] for split, found in pairs.by_split.items()} == {"train": ["a"], "valid": [], "test": ["d"]}
    assert pairs.set_aside == {"set_aside_no_picture": 1, "set_aside_picture_missing": 1}


def test_no_pair_at_all_says_what_was_found(tmp_path):
    write_pictures(tmp_path / "toc_dataset@32", [draw(titles()[0], 32)])
    write_papers(tmp_path, [paper(0, "a", None)])
    with pytest.raises(TuningError, match="toc_dataset@32.*1 set_aside_no_picture.*crawl more"):
        read_pairs(tmp_path, 32, new_processor(32))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [16, 64])
def test_pictures_of_another_size_and_grey_ones_become_what_the_processor_says(tmp_path, mode, size):
    original = draw(titles()[0], size).convert(mode)
    (name,) = write_pictures(tmp_path / "set", [original])
    processor = new_processor(32)
    pictures = Pictures(tmp_path / "set", processor)
    pixels = pictures.tensor([pictures.image(name)])
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels.min() >= -1 and pixels.max() == 1
    assert torch.equal(pixels, processor(images=[original.convert("RGB")], return_tensors="pt")["pixel_values"])


def test_pixels_come_back_as_they_were(tmp_path):
    (name,) = write_pictures(tmp_path / "set", [draw(titles()[5], 32)])
    pictures = Pictures(tmp_path / "set", new_processor(32))
    assert Image.fromarray(to_uint8(pictures.tensor([pictures.image(name)]), pictures.processor)[0].transpose(1, 2, 0)) == draw(titles()[5], 32)


def test_a_dataset_without_its_index_says_what_to_make(tmp_path):
    write_pictures(tmp_path / "toc_dataset@32", [draw(titles()[0], 32)])
    (tmp_path / "toc_dataset@32/index.parquet").unlink()
    with pytest.raises(TuningError, match="materialize toc_dataset@32"):
        Pictures(tmp_path / "toc_dataset@32", new_processor(32))


@given(width=st.integers(1, 200), height=st.integers(1, 200), least=st.floats(0.05, 1.0), seed=st.integers(0, 99))
def test_a_random_crop_lies_in_the_picture(width: int, height: int, least: float, seed: int):
    image = Image.new("RGB", (width, height), "white")
    cut = varied(image, torch.Generator().manual_seed(seed), least_crop=least)
    assert 0 < cut.width <= width and 0 < cut.height <= height
    # What lies outside of a picture would be black.
    assert cut.getextrema() == ((255, 255),) * 3


def test_crops_follow_from_the_generator():
    image = draw("A red disc in the north-west", 32)
    first, again = (varied(image, torch.Generator().manual_seed(3), least_crop=0.3) for _ in range(2))
    assert first == again and first.size != image.size
    assert varied(image, torch.Generator(), least_crop=1.0) == image


def test_labels_end_the_title_and_ignore_the_padding(tmp_path):
    data, random = tmp_path / "data", torch.Generator()
    write_data(data)
    papers = read_paper_texts(data / "paper_texts")
    tokenizer = write_title_model(tmp_path / "model", titles())
    examples = TitledPictures(papers, Pictures(data / "toc_dataset@32", new_processor(32)), tokenizer, 63)
    batch = examples.batch([0, 9], random)
    assert batch["pixel_values"].shape == (2, 3, 32, 32)
    for row, place in zip(batch["labels"], [0, 9], strict=True):
        ids = [int(token) for token in row if token != NO_LABEL]
        assert ids[-1] == tokenizer.eos_token_id and tokenizer.pad_token_id not in ids
        assert tokenizer.decode(ids[:-1]) == papers[place].title
        assert len(ids) == examples.lengths()[place]
    assert (
        len(TitledPictures(papers, examples.pictures, tokenizer, 3)) == 0 and TitledPictures(papers, examples.pictures, tokenizer, 3).too_long == 64
    )
