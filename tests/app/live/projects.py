"""A project with every model that the apps show, tiny and untrained, registered in an MLflow store of its own."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from stages.artifact_id import content_id
from tests.training.polymers.toy_molecules import enumerated_molecules
from training.polymers.gpt import PolyGPT, save_polygpt
from training.polymers.gpt.networks import PolyGPTShape
from training.polymers.smiles_tokenizer import SmilesTokenizerConfig, train_smiles_tokenizer
from training.tracking.registry import CHAMPION, register_version
from training.tracking.store import open_client, tracking_uri
from training.words.word_tokenizers import train_bpe

MODELS = ("toc_titler", "abstract_t5", "title_t5", "polygpt", "stylegan3_toc", "stylegan3_pages", "pggan_pages")
REPORTS = {"toc_titler": "titler_report", "abstract_t5": "abstract_report"}
TEXTS = ["Light-driven synthesis of porous frameworks in water", "We report a catalyst that splits water under light", "Ions move in soft glass"]


def write_project(root: Path, store: Path) -> Path:
    """dvc.yaml with the stages of MODELS, an empty store, and no data."""
    stages = {name: f"{{cmd: x, outs: [data/{name}]}}" for name in (*MODELS, "imaginary_papers")}
    stages |= {report: f"{{cmd: x, deps: [data/{model}], outs: [data/{report}]}}" for model, report in REPORTS.items()}
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    (root / "dvc.yaml").write_text("stages:\n" + "".join(f"  {name}: {body}\n" for name, body in stages.items()))
    (root / ".figment/mlflow").mkdir(parents=True)
    shutil.copyfile(store, root / ".figment/mlflow/mlflow.db")
    return root


def register(root: Path, model: str, *, champion: bool = True, **tags: str) -> Any:
    """A version of `model` that holds what lies in data/ now."""
    client = open_client(tracking_uri(root / ".figment"))
    found = client.get_experiment_by_name(model)
    experiment = found.experiment_id if found else client.create_experiment(model)
    run = client.create_run(experiment)
    id = content_id(root / "data" / model)
    number = register_version(client, run_id=run.info.run_id, experiment_id=experiment, model=model, output_id=id, tags=tags)
    if champion:
        client.set_registered_model_alias(model, CHAMPION, number)
    return client.get_model_version(model, number)


def tokenizer() -> PreTrainedTokenizerFast:
    return train_bpe(TEXTS, 300, {"pad_token": "<pad>", "eos_token": "</s>"}, template="$A </s>")


def write_t5(folder: Path) -> Path:
    torch.manual_seed(0)
    words = tokenizer()
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    ids = {"pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id, "decoder_start_token_id": words.pad_token_id}
    T5ForConditionalGeneration(T5Config(vocab_size=len(words), **sizes, **ids)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def write_titler(folder: Path) -> Path:
    torch.manual_seed(0)
    words = tokenizer()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    encoder = ViTModel(ViTConfig(image_size=16, patch_size=8, **shape), add_pooling_layer=False)
    layers = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 65, "add_cross_attention": True, "is_decoder": True}
    decoder = GPT2LMHeadModel(GPT2Config(vocab_size=len(words), bos_token_id=1, eos_token_id=1, pad_token_id=0, **layers))
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 1
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder)
    return folder


def write_polygpt(folder: Path) -> Path:
    torch.manual_seed(0)
    words = train_smiles_tokenizer(enumerated_molecules(50), SmilesTokenizerConfig(vocabulary_size=30))
    known = {"properties": ("mol_wt",), "property_mean": (46.0,), "property_std": (9.0,), "property_units": {"mol_wt": "g/mol"}}
    shape = PolyGPTShape(words.get_vocab_size(), 12, width=16, layers=1, heads=2, **known)
    folder.mkdir(parents=True)
    save_polygpt(folder, PolyGPT(shape), words)
    return folder
