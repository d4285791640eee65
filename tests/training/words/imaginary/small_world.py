"""All that imaginary_papers reads, in small: drawn pictures, real titles and abstracts, and models of random weights, saved as their stages do."""

import json
from pathlib import Path

import numpy
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from formats.image_shards import member_name, write_shard
from formats.png import encode_png
from formats.tables import columns, table_from_rows, write_table
from formats.text_tables import PAPER_TEXTS
from stages.artifact_id import content_id
from training.fine_tuning.model_folder import save_model
from training.words.word_tokenizers import train_bpe

TITLES = [
    f"{how} {what} of {whom}"
    for how in ("Direct", "Catalytic", "Gentle")
    for what in ("Oxidation", "Silylation")
    for whom in ("Alkenes", "Tea", "Iron")
]
ABSTRACT = "Here we show that the {} goes on under mild conditions in water, with yields that nobody expected of such a simple catalyst before."
SIDE = 16
LEARNT_FROM = {
    "title_gpt2": ["paper_texts"],
    "toc_encoder": ["toc_dataset@16", "paper_texts"],
    "toc_titler": ["toc_dataset@16", "paper_texts", "title_gpt2", "toc_encoder"],
    "abstract_t5": ["paper_texts"],
}


def write_world(data: Path, *, fakes: int = 12, reals: int = 6) -> Path:
    """The data folder: pictures 0 … reals - 1 are real; of the fakes the first is white, and the second is the first real one."""
    drawn = [_drawn(seed) for seed in range(reals + fakes)]
    white = numpy.full_like(drawn[0], 250)
    shown = [white, drawn[0], *drawn[reals : reals + fakes - 2]]
    _write_set(data / "toc_dataset@16", drawn[:reals])
    index = columns(serial=int, sha256=str, shard=str, member=str)
    rows = [{"serial": serial, "sha256": f"{serial:064x}", "shard": "shard-00000.zip", "member": member_name(serial)} for serial in range(reals)]
    write_table(data / "toc_dataset@16/index.parquet", table_from_rows(index, rows))
    _write_set(data / "toc_fakes/psi0.8", shown)
    index = columns(psi=float, seed=int, shard=str, member=str)
    rows = [{"psi": 0.8, "seed": seed, "shard": "psi0.8/shard-00000.zip", "member": member_name(seed)} for seed in range(fakes)]
    write_table(data / "toc_fakes/index.parquet", table_from_rows(index, rows))
    (data / "stylegan3_toc").mkdir()
    (data / "stylegan3_toc/training_options.json").write_text(json.dumps({"dataset_size": 16}))
    _write_texts(data / "paper_texts")
    for name in ("papers", "toc_images", "title_gpt2", "toc_encoder"):
        (data / name).mkdir()
        (data / name / "what.txt").write_text(name)
    _write_models(data)
    return data


def _drawn(seed: int) -> numpy.ndarray:
    random = numpy.random.default_rng(seed)
    pixels = numpy.full((SIDE, SIDE, 3), 255, numpy.uint8)
    for _ in range(3):
        y, x = random.integers(0, SIDE - 5, 2)
        pixels[y : y + 5, x : x + 5] = random.integers(0, 180, 3)
    return pixels


def _write_set(folder: Path, pictures: list[numpy.ndarray]) -> None:
    folder.mkdir(parents=True)
    write_shard(folder / "shard-00000.zip", ((serial, encode_png(picture)) for serial, picture in enumerate(pictures)))


def _write_texts(folder: Path) -> None:
    rows = [
        {"id": f"p{serial}", "serial": serial, "title": title, "abstract": ABSTRACT.format(title), "licence": "CC0-1.0", "source": "made up",
         "group": f"p{serial}", "split": "train", "tdm_reserved": False}
        for serial, title in enumerate(TITLES)
    ]  # fmt: skip
    folder.mkdir()
    write_table(folder / "paper_texts-00000.parquet", table_from_rows(PAPER_TEXTS, rows))
    write_table(folder / "rejected.parquet", table_from_rows(columns(id=str, reason=str), []))


def _write_models(data: Path) -> None:
    torch.manual_seed(0)
    texts = [*TITLES, *(ABSTRACT.format(title) for title in TITLES)]
    tokenizer = train_bpe(texts, 500, {"pad_token": "<pad>", "eos_token": "</s>"}, template="$A </s>")
    vit = ViTModel(ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8))
    gpt = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1, n_head=2, add_cross_attention=True, is_decoder=True)
    )
    titler = VisionEncoderDecoderModel(encoder=vit, decoder=gpt)
    for name, token in (("decoder_start_token_id", 1), ("eos_token_id", 1), ("pad_token_id", 0)):
        setattr(titler.config, name, token)
        setattr(titler.generation_config, name, token)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, **sizes))
    processor = ViTImageProcessorPil(size={"height": 16, "width": 16}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    for name, model, savers in (("toc_titler", titler, [tokenizer, processor]), ("abstract_t5", t5, [tokenizer])):
        (data / name).mkdir()
        save_model(data / name, model, savers, f"# {name}\n")
    # In the order in which they are trained: an id is that of a folder with the ids in it.
    for name, inputs in LEARNT_FROM.items():
        (data / name / "data_ids.json").write_text(json.dumps({other: content_id(data / other) for other in inputs}))
