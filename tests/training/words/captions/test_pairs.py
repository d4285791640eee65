"""Pictures and titles find each other, whatever the pictures are, and what does not fit is counted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from formats.text_tables import read_paper_texts
from tests.training.words.captions.drawn import draw, paper, titles, write_data, write_papers, write_pictures, write_title_model
from training.words.captions.pairs import IGNORED, TitledPictures, join, pictures_of
from training.words.captions.pictures import Pictures, new_processor, random_box, to_uint8, varied
from training.words.examples import WordsError


def test_papers_without_their_picture_are_counted_and_left_out(tmp_path):
    names = write_pictures(tmp_path / "toc_dataset@32", [draw(title, 32) for title in titles()[:3]])
    rows = [paper(0, "a", names[0]), paper(1, "b", None), paper(2, "c", "f" * 64), paper(3, "d", names[2], "test")]
    rows.append(paper(4, "e", names[1]) | {"licence": "unknown"})
    write_papers(tmp_path, rows)
    pairs = join(read_paper_texts(tmp_path / "paper_texts"), Pictures(tmp_path / "toc_dataset@32", new_processor(32)), "here")
    assert {split: [one.title for one in found] for split, found in pairs.by_split.items()} == {"train": ["a"], "valid": [], "test": ["d"]}
    assert pairs.words == "1 train, 0 valid, 1 test; set aside: 1 unknown_licence, 1 without_picture, 1 picture_not_in_dataset"


def test_no_pair_at_all_says_what_was_found(tmp_path):
    write_papers(tmp_path, [paper(0, "a", None)])
    with pytest.raises(WordsError, match="1 without_picture.*crawl more"):
        join(read_paper_texts(tmp_path / "paper_texts"), set(), "data/toc_dataset@32")


def test_a_picture_of_several_papers_is_one(tmp_path):
    write_papers(tmp_path, [paper(0, "a", "1"), paper(1, "b", "1"), paper(2, "c", "2")])
    assert pictures_of(read_paper_texts(tmp_path / "paper_texts")) == ["1", "2"]


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
    with pytest.raises(WordsError, match="materialize toc_dataset@32"):
        Pictures(tmp_path / "toc_dataset@32", new_processor(32))


@given(width=st.integers(1, 200), height=st.integers(1, 200), least=st.floats(0.05, 1.0), seed=st.integers(0, 99))
def test_a_random_box_lies_in_the_picture(width: int, height: int, least: float, seed: int):
    left, top, right, bottom = random_box(width, height, least, torch.Generator().manual_seed(seed))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height


def test_flips_and_crops_follow_from_the_generator():
    image = draw("A red disc in the north-west", 32)
    found = [varied(image, torch.Generator().manual_seed(seed), least_crop=1.0, flip=True) for seed in range(20)]
    assert image in found and image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) in found
    assert varied(image, torch.Generator(), least_crop=1.0, flip=False) == image
    assert varied(image, torch.Generator().manual_seed(3), least_crop=0.3, flip=False).size != image.size


def test_labels_end_the_title_and_ignore_the_padding(tmp_path):
    data, random = tmp_path / "data", torch.Generator()
    write_data(data)
    papers = read_paper_texts(data / "paper_texts")
    tokenizer = write_title_model(tmp_path / "model", titles())
    examples = TitledPictures(papers, Pictures(data / "toc_dataset@32", new_processor(32)), tokenizer, 63)
    batch = examples.batch([0, 9], random)
    assert batch["pixel_values"].shape == (2, 3, 32, 32)
    for row, place in zip(batch["labels"], [0, 9], strict=True):
        ids = [int(token) for token in row if token != IGNORED]
        assert ids[-1] == tokenizer.eos_token_id and tokenizer.pad_token_id not in ids
        assert tokenizer.decode(ids[:-1]) == papers[place].title
        assert len(ids) == examples.lengths()[place]
    assert (
        len(TitledPictures(papers, examples.pictures, tokenizer, 3)) == 0 and TitledPictures(papers, examples.pictures, tokenizer, 3).too_long == 64
    )
