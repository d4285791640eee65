"""The transformer: shapes, causality, the cache, the prefix, gradients, and its folder."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.training.polymers.toy_molecules import enumerated_molecules
from training.polymers.batches import Batch
from training.polymers.conditions import MoleculeModelError
from training.polymers.gpt import PolyGPT, PolyGPTShape, load_polygpt, save_polygpt
from training.polymers.gpt.losses import LossWeights, polygpt_losses
from training.polymers.gpt.sample import sample
from training.polymers.smiles_tokenizer import SmilesTokenizerConfig, train_smiles_tokenizer
from training.polymers.transformer import KeyValueCache

SHAPE = PolyGPTShape(
    vocabulary_size=30,
    maximum_tokens=20,
    width=24,
    layers=3,
    heads=4,
    dropout=0.0,
    predictor_width=8,
    properties=("mol_wt", "tpsa"),
    property_mean=(100.0, 5.0),
    property_std=(20.0, 2.0),
)


@pytest.fixture
def model() -> PolyGPT:
    torch.manual_seed(0)
    model = PolyGPT(SHAPE).eval()
    # Away from the small initial values, so that a wrong mask or position would be seen.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(5, 30, (4, 12), generator=torch.Generator().manual_seed(1))


def asked(model: PolyGPT, rows: int = 4) -> torch.Tensor:
    return model.property_embedding(torch.linspace(-1, 1, 2 * rows).view(rows, 2), torch.ones(rows, 2, dtype=torch.bool))


def test_one_hidden_state_for_the_prefix_and_each_token(model, tokens):
    hidden = model(tokens, asked(model))
    assert hidden.shape == (4, 13, 24)
    assert model.logits(hidden).shape == (4, 13, 30)


def test_the_cache_gives_the_logits_of_the_full_forward(model, tokens):
    prefix = asked(model)
    full = model.logits(model(tokens, prefix))
    cache = KeyValueCache(SHAPE, 4, capacity=13, device=torch.device("cpu"), dtype=torch.float32)
    steps = [model.logits(model(tokens[:, :3], prefix, cache))]
    steps += [model.logits(model(tokens[:, step : step + 1], None, cache)) for step in range(3, 12)]
    assert (torch.cat(steps, dim=1) - full).abs().max() <= 1e-5


def test_the_cache_can_drop_finished_molecules(model, tokens):
    prefix, rows = asked(model), torch.tensor([1, 3])
    cache = KeyValueCache(SHAPE, 4, capacity=13, device=torch.device("cpu"), dtype=torch.float32)
    model(tokens[:, :5], prefix, cache)
    cache.keep(rows)
    step = model(tokens[rows, 5:6], None, cache)
    assert (step[:, 0] - model(tokens, prefix)[rows, 6]).abs().max() <= 1e-5


def test_no_position_sees_what_comes_after_it(model, tokens):
    prefix, changed = asked(model), tokens.clone()
    changed[:, 7:] = (changed[:, 7:] + 3) % 25 + 5
    before, after = model(tokens, prefix), model(changed, prefix)
    # Token 7 stands at position 8, behind the prefix.
    assert torch.equal(before[:, :8], after[:, :8]) and not torch.equal(before[:, 8:], after[:, 8:])


def test_every_position_sees_the_prefix(model, tokens):
    with_properties, without = model(tokens, asked(model)), model(tokens, torch.zeros(4, 24))
    assert ((with_properties - without).abs().amax(dim=-1) > 1e-4).all()


def test_no_property_at_all_is_a_prefix_of_zeros_and_missing_values_do_not_count(model):
    values = torch.tensor([[1.0, 2.0], [1.0, float("nan")], [1.0, 7.0]])
    mask = torch.tensor([[False, False], [True, False], [True, False]])
    prefix = model.property_embedding(values, mask)
    assert torch.equal(prefix[0], torch.zeros(24))
    assert torch.equal(prefix[1], prefix[2]) and prefix[1].abs().sum() > 0


def test_a_missing_value_differs_from_an_average_one(model):
    values, both = torch.zeros(2, 2), torch.tensor([[True, True], [True, False]])
    prefix = model.property_embedding(values, both)
    assert not torch.allclose(prefix[0], prefix[1])


def test_what_is_told_of_a_molecule_depends_on_no_padding_and_on_every_token(model, tokens):
    every = torch.ones(4, 12, dtype=torch.bool)
    told = model.tell(tokens, every)
    padded, mask = torch.cat([tokens, torch.zeros(4, 3, dtype=torch.int64)], dim=1), torch.cat([every, torch.zeros(4, 3, dtype=torch.bool)], dim=1)
    assert told.shape == (4, 2) and torch.allclose(model.tell(padded, mask), told, atol=1e-5)
    for place in (1, 5, 11):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 3) % 25 + 5
        assert ((model.tell(changed, every) - told).abs() > 1e-4).all()


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    model = PolyGPT(SHAPE)
    tokens = torch.randint(5, 30, (8, 20))
    properties = torch.randn(8, 2)
    every = torch.ones(8, 2, dtype=torch.bool)
    batch = Batch(tokens, torch.full((8,), 20), properties, every, properties + 0.1 * torch.randn(8, 2), every, conditional=True)
    polygpt_losses(model, batch, LossWeights(1.0, 1.0, 1.0), batch.denominators()).total.backward()
    untouched = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    # Tokens 0-4 are special and absent here, but the tied head gives their rows a gradient too.
    assert untouched == []


def test_the_head_is_the_embedding():
    assert "head" not in " ".join(name for name, _ in PolyGPT(SHAPE).named_parameters() if "auxiliary" not in name and "predictor" not in name)


def saved(model: PolyGPT, folder, size: int = 30):
    tokenizer = train_smiles_tokenizer(enumerated_molecules(50), SmilesTokenizerConfig(vocabulary_size=size))
    folder.mkdir(exist_ok=True)
    save_polygpt(folder, model, tokenizer)
    return folder


def test_three_lines_load_a_model_and_sample_from_it(model, tmp_path):
    folder = saved(model, tmp_path / "polygpt")
    loaded, tokenizer = load_polygpt(folder)
    molecules = sample(loaded, tokenizer, number=3, temperature=0.8, properties={"mol_wt": 200.0}, seed=4)
    assert len(molecules) == 3 and molecules == sample(loaded, tokenizer, number=3, temperature=0.8, properties={"mol_wt": 200.0}, seed=4)
    assert loaded.shape == SHAPE
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_the_files_have_the_same_bytes_each_time(model, tmp_path):
    first, second = saved(model, tmp_path / "a"), saved(model, tmp_path / "b")
    assert [path.name for path in sorted(first.iterdir())] == [path.name for path in sorted(second.iterdir())]
    assert all(path.read_bytes() == (second / path.name).read_bytes() for path in first.iterdir())
    assert set(load_file(first / "model.safetensors")) == set(model.state_dict())


def test_properties_are_scaled_by_the_training_split(model):
    values, mask = model.shape.standardise({"mol_wt": 140.0})
    assert values[0] == pytest.approx(2.0) and mask.tolist() == [True, False]


def test_an_unknown_property_is_named_with_its_nearest(model):
    with pytest.raises(MoleculeModelError, match=r"no property 'mol_wd' \(did you mean 'mol_wt'\?\); this model was trained with mol_wt, tpsa"):
        model.shape.standardise({"mol_wd": 1.0})


def test_a_tokenizer_of_another_size_is_refused(model, tmp_path):
    with pytest.raises(MoleculeModelError, match="the tokenizer has 40 tokens, the model 30"):
        load_polygpt(saved(model, tmp_path, size=40))


def test_a_missing_folder_or_foreign_configuration_is_named(model, tmp_path):
    with pytest.raises(MoleculeModelError, match=r"config\.json: no such file.*figment materialize polygpt"):
        load_polygpt(tmp_path)
    folder = saved(model, tmp_path)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(MoleculeModelError, match="model_type must be 'polygpt'"):
        load_polygpt(folder)


def test_weights_of_another_shape_or_cut_short_are_refused(model, tmp_path):
    folder = saved(model, tmp_path)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(MoleculeModelError, match="not the weights of"):
        load_polygpt(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "layers": 2}))
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(MoleculeModelError, match="not the weights of"):
        load_polygpt(folder)


@pytest.mark.parametrize("change", [{"width": 25}, {"property_mean": (1.0,)}])
def test_impossible_shapes_are_refused(change):
    from dataclasses import replace

    with pytest.raises(ValueError, match="multiple|same length"):
        replace(SHAPE, **change)
