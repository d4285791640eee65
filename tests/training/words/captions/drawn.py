"""Coloured shapes and the titles that say what is drawn, as the datasets that the trainings read."""

import hashlib
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy
from PIL import Image, ImageDraw
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from assets.images.columns import INDEXED
from formats.image_shards import member_name, shard_name, write_shard
from formats.png import encode_png
from formats.tables import table_from_rows, write_table
from formats.text_tables import PAPER_TEXTS

COLOURS = {"red": (220, 40, 40), "green": (30, 150, 60), "blue": (40, 70, 220), "black": (0, 0, 0)}
SHAPES = ("disc", "square", "cross", "ring")
PLACES = {"north-west": (0, 0), "north-east": (1, 0), "south-west": (0, 1), "south-east": (1, 1)}


def titles() -> list[str]:
    """All 64 of them."""
    return [f"A {colour} {shape} in the {place}" for colour, shape, place in product(COLOURS, SHAPES, PLACES)]


def draw(title: str, side: int) -> Image.Image:
    """The picture of one of the `titles`, white paper with one drawing, RGB."""
    _, colour, shape, _, _, place = title.split()
    image, half = Image.new("RGB", (side, side), "white"), side // 2
    left, top = (half * step + side // 16 for step in PLACES[place])
    box = (left, top, left + half - side // 8, top + half - side // 8)
    pen, middle = ImageDraw.Draw(image), ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2)
    if shape == "cross":
        pen.line((box[0], middle[1], box[2], middle[1]), fill=COLOURS[colour], width=side // 10)
        pen.line((middle[0], box[1], middle[0], box[3]), fill=COLOURS[colour], width=side // 10)
    elif shape == "square":
        pen.rectangle(box, fill=COLOURS[colour])
    else:
        pen.ellipse(box, fill=COLOURS[colour] if shape == "disc" else None, outline=COLOURS[colour], width=side // 10)
    return image


def paper(number: int, title: str, sha256: str | None, split: str = "train") -> dict[str, object]:
    """A row of paper_texts."""
    name = f"{number:016x}"
    return {"id": name, "serial": number, "title": title, "licence": "CC0-1.0", "image_sha256": sha256, "group": name, "split": split}


def write_papers(data: Path, rows: Sequence[dict[str, object]]) -> None:
    (data / "paper_texts").mkdir(parents=True, exist_ok=True)
    write_table(data / "paper_texts/paper_texts-00000.parquet", table_from_rows(PAPER_TEXTS, rows))


def write_pictures(folder: Path, images: Sequence[Image.Image]) -> list[str]:
    """A dataset of pictures as `toc_dataset@SIZE` is one; gives what stands for the SHA-256 of each original."""
    folder.mkdir(parents=True)
    pixels = [numpy.asarray(image) for image in images]
    names = [hashlib.sha256(one.tobytes()).hexdigest() for one in pixels]
    write_shard(folder / shard_name(0), [(number, encode_png(one if one.ndim == 3 else one[..., None])) for number, one in enumerate(pixels)])
    rows = [{"serial": n, "sha256": name, "shard": shard_name(0), "member": member_name(n), "licence": "CC0-1.0"} for n, name in enumerate(names)]
    write_table(folder / "index.parquet", table_from_rows(INDEXED, rows))
    return names


def write_data(data: Path, *, size: int = 32, held_out: int = 0) -> list[str]:
    """paper_texts and toc_dataset@size of all the drawings, the last `held_out` of valid and test in turn, and a small title_gpt2. Gives the titles."""
    written = titles()
    names = write_pictures(data / f"toc_dataset@{size}", [draw(title, size) for title in written])
    splits = ["train"] * (len(written) - held_out) + ["valid", "test"] * (held_out // 2)
    write_papers(data, [paper(n, title, name, split) for n, (title, name, split) in enumerate(zip(written, names, splits, strict=True))])
    write_title_model(data / "title_gpt2", written)
    return written


def write_title_model(folder: Path, texts: Sequence[str], *, width: int = 64, layers: int = 2) -> PreTrainedTokenizerFast:
    """An untrained GPT-2 and its tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|pad|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=specials[0], bos_token=specials[0], pad_token=specials[1])
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=width, n_layer=layers, n_head=4, n_positions=64, **ends))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer
