"""A saved PolyGPT in the hands of `transformers`, in a process that has nothing of this project."""

import ast
import json
import sys

import pytest
import torch

from tests import warm
from tests.training.polymers.gpt.test_networks import SHAPE
from tests.training.polymers.toy_molecules import enumerated_molecules
from training.polymers.decoding import SamplingSettings, sample_tokens
from training.polymers.gpt import PolyGPT, save_polygpt
from training.polymers.gpt.sample import PolyGPTWriter
from training.polymers.gpt.self_contained import modeling_source
from training.polymers.smiles_tokenizer import PAD, SmilesTokenizerConfig, train_smiles_tokenizer

TOKENIZER = train_smiles_tokenizer(enumerated_molecules(50), SmilesTokenizerConfig(vocabulary_size=30))

THERE = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, again = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model, loading = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
batch = tokenizer(["CCO", "c1ccccc1N", "C"], return_tensors="pt", padding=True)
wanted = model.wanted(mol_wt=130.0).expand(3, -1)
asked = {"properties": model.wanted(tpsa=7.0)}
torch.manual_seed(0)
with torch.no_grad():
    answer = {
        "ids": batch.input_ids.tolist(),
        "free": model(**batch).logits.tolist(),
        "wanted": model(**batch, properties=wanted).logits.tolist(),
        "told": {name: values.tolist() for name, values in model.told(batch.input_ids).items()},
        "greedy": model.generate(do_sample=False, **asked)[0].tolist(),
        "without_cache": model.generate(do_sample=False, use_cache=False, **asked)[0].tolist(),
        "sampled": tokenizer.batch_decode(model.generate(num_return_sequences=40, **asked), skip_special_tokens=True),
        "begun": tokenizer.batch_decode(model.generate(batch.input_ids[:1, :4], num_return_sequences=2, **asked), skip_special_tokens=True),
    }
    model.save_pretrained(again)
    saved = AutoModelForCausalLM.from_pretrained(again, trust_remote_code=True)
    answer["equal_again"] = torch.equal(saved(**batch).logits, model(**batch).logits)
labels = batch.input_ids.masked_fill(batch.input_ids == tokenizer.pad_token_id, -100)
model(**batch, labels=labels).loss.backward()
answer["loading"] = {name: sorted(found) for name, found in loading.items()}
answer["ours"] = [name for name in sys.modules if name.partition(".")[0] in ("training", "stages", "formats", "assets", "orchestration")]
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def model() -> PolyGPT:
    torch.manual_seed(0)
    model = PolyGPT(SHAPE).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
        model.position_embedding.weight.mul_(3)
        model.property_encoder[2].weight.mul_(10)
    return model


@pytest.fixture(scope="module")
def answer(model, tmp_path_factory) -> dict:
    """What a process far from the project finds in the folder."""
    folder = tmp_path_factory.mktemp("model")
    save_polygpt(folder, model, TOKENIZER)
    away = tmp_path_factory.mktemp("away")
    done = warm.plain(THERE, folder, away / "again", cwd=away)
    return json.loads(done.stdout.splitlines()[-1])


def test_transformers_finds_every_weight_and_needs_nothing_of_ours(answer):
    assert answer["ours"] == [] and not any(answer["loading"].values())
    assert answer["equal_again"]


def test_transformers_computes_the_same_logits_asked_and_unasked(model, answer):
    tokens = torch.tensor(answer["ids"])
    assert tokens[0][tokens[0] != PAD].tolist() == TOKENIZER.encode("CCO").ids
    standard, mask = model.shape.standardise({"mol_wt": 130.0})
    with torch.no_grad():
        for name, is_wanted in (("free", False), ("wanted", True)):
            prefix = model.property_embedding(standard.expand(3, -1), (mask & is_wanted).expand(3, -1))
            expected = model.logits(model(tokens, prefix)[:, 1:])
            assert torch.allclose(torch.tensor(answer[name]), expected, atol=1e-5)
        told = model.tell(tokens, tokens != PAD) * torch.tensor(SHAPE.property_std) + torch.tensor(SHAPE.property_mean)
    assert torch.allclose(torch.tensor([answer["told"]["mol_wt"], answer["told"]["tpsa"]]).T, told, rtol=1e-4)


def test_transformers_writes_the_same_greedy_molecule_with_and_without_its_cache(model, answer):
    values, mask = (column.unsqueeze(0) for column in model.shape.standardise({"tpsa": 7.0}))
    expected = sample_tokens(PolyGPTWriter(model, TOKENIZER), values, mask, SamplingSettings(temperature=0))[0]
    assert answer["greedy"][1:] == expected[expected != PAD].tolist()
    assert answer["without_cache"] == answer["greedy"]


def test_transformers_writes_different_molecules_without_special_tokens(answer):
    assert len(set(answer["sampled"])) > 20 and not any("<" in smiles for smiles in answer["sampled"])
    begun = TOKENIZER.decode(answer["ids"][0][:4], skip_special_tokens=True)
    assert all(smiles.startswith(begun) for smiles in answer["begun"])


def test_the_written_program_imports_torch_and_transformers_alone_and_has_no_words(tmp_path):
    tree = ast.parse(modeling_source())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) == {"torch", "transformers"}
    definitions = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    assert not any(ast.get_docstring(node) for node in definitions)
    # One comment: the heading.
    assert modeling_source().count("#") == 1 and str(tmp_path) not in modeling_source()
