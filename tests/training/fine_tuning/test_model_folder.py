"""Models from folders and hub names, and what is wrong with them; saved ones are read by transformers alone."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GPT2Config, GPT2LMHeadModel

from tests.training.words.toy_titles import grammar_titles
from training.fine_tuning.examples import TuningError
from training.fine_tuning.model_folder import load_model, load_tokenizer, save_model
from training.words.word_tokenizers import CAUSAL, END, train_bpe


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "gpt2"
    folder.mkdir()
    tokenizer = train_bpe(grammar_titles(60), 300, CAUSAL, template=f"{END} $A")
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0))
    save_model(folder, model, [tokenizer], "# A card\n")
    return folder


def copied(saved, tmp_path):
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_what_is_saved_is_loaded_with_changes_of_its_configuration(saved):
    model = load_model(saved, AutoModelForCausalLM, attn_pdrop=0.4)
    assert model.config.attn_pdrop == 0.4 and not model.training and model.dtype == torch.float32
    assert load_tokenizer(saved, model).pad_token_id == 1
    assert (saved / "README.md").read_text() == "# A card\n"
    # A name of the class that both releases of transformers know.
    assert json.loads((saved / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert {path.suffix for path in saved.iterdir()} == {".json", ".md", ".safetensors"}


def test_a_hub_name_without_a_network_names_the_variable_and_the_way_out():
    with pytest.raises(TuningError, match="no-such-owner/no-such-model: .*HF_HUB_OFFLINE=1.*give a folder"):
        load_model("no-such-owner/no-such-model", AutoModelForCausalLM)
    with pytest.raises(TuningError, match="finds no tokenizer.*HF_HUB_OFFLINE"):
        load_tokenizer("no-such-model")


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(TuningError, match="finds no model.*a folder needs config.json"):
        load_model(tmp_path, AutoModelForCausalLM)


def test_a_folder_that_does_not_exist_is_told(tmp_path):
    with pytest.raises(TuningError, match="HF_HUB_OFFLINE=1 or no network give a folder"):
        load_model(tmp_path / "gone", AutoModelForCausalLM)


def test_weights_that_are_no_safetensors_are_never_read(saved, tmp_path):
    folder = copied(saved, tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(TuningError, match="a folder needs config.json and safetensors"):
        load_model(folder, AutoModelForCausalLM)


@pytest.mark.parametrize("what", ["no weights", "empty", "cut", "of other sizes", "tokenizer"])
def test_a_folder_whose_files_cannot_be_read_is_one_error_that_names_them(saved, tmp_path, what):
    folder = copied(saved, tmp_path)
    weights = folder / "model.safetensors"
    if what == "no weights":
        weights.unlink()
    elif what == "of other sizes":
        settings = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**settings, "n_embd": 32}))
    elif what == "tokenizer":
        (folder / "tokenizer.json").write_text("{}")
    else:
        weights.write_bytes(weights.read_bytes()[: 1000 * (what == "cut")])
    with pytest.raises(TuningError, match=r"it has no weights" if what == "no weights" else r"it has model\.safetensors"):
        load_tokenizer(folder) if what == "tokenizer" else load_model(folder, AutoModelForCausalLM)


def test_a_model_of_another_kind_is_refused(saved):
    with pytest.raises(TuningError, match="transformers finds no model"):
        load_model(saved, AutoModelForSeq2SeqLM)


def test_code_of_a_models_own_is_never_run(saved, tmp_path):
    folder = copied(saved, tmp_path)
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: ...\nclass Model: ...\n")
    with pytest.raises(TuningError):
        load_model(folder, AutoModelForCausalLM)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("rows", [299, 400])
def test_a_tokenizer_that_does_not_fit_the_weights_is_refused(saved, rows):
    model = load_model(saved, AutoModelForCausalLM)
    model.resize_token_embeddings(rows)
    with pytest.raises(TuningError, match=f"300 tokens and the model {rows} embeddings; take both from one"):
        load_tokenizer(saved, model)


def test_rows_that_only_round_the_size_up_fit(saved):
    model = load_model(saved, AutoModelForCausalLM)
    model.resize_token_embeddings(320)
    assert len(load_tokenizer(saved, model)) == 300
