"""The networks of PolyVAE: shapes, what reads what, the cache, and its folder."""

import json
from dataclasses import replace

import pytest
import torch

from tests.training.polymers.toy_molecules import enumerated_molecules
from training.polymers.conditions import MoleculeModelError
from training.polymers.smiles_tokenizer import BOS, EOS, PAD, SmilesTokenizerConfig, train_smiles_tokenizer
from training.polymers.vae import PolyVAE, PolyVAEShape, load_polyvae, save_polyvae

SHAPE = PolyVAEShape(
    vocabulary_size=30,
    maximum_tokens=20,
    width=24,
    property_width=8,
    latent=6,
    encoder_layers=2,
    layers=3,
    heads=4,
    dropout=0.0,
    properties=("mol_wt", "tpsa"),
    property_mean=(100.0, 5.0),
    property_std=(20.0, 2.0),
)
VALUES, MASK = torch.linspace(-1, 1, 8).view(4, 2), torch.ones(4, 2, dtype=torch.bool)
LATENTS = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def model() -> PolyVAE:
    torch.manual_seed(0)
    model = PolyVAE(SHAPE).eval()
    # Away from the small initial values, so that a wrong mask or position would be seen.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


@pytest.fixture
def tokens() -> torch.Tensor:
    tokens = torch.randint(5, 30, (4, 12), generator=torch.Generator().manual_seed(1))
    tokens[:, 0], tokens[:, -1] = BOS, EOS
    return tokens


def test_shapes(model, tokens):
    mean, log_variance = model.posterior(tokens, VALUES, MASK)
    assert mean.shape == log_variance.shape == (4, 6) and mean.dtype == torch.float32
    assert model.decode(tokens, mean, VALUES, MASK).shape == (4, 12, 30)


def test_the_posterior_does_not_depend_on_padding_or_on_what_lies_beside(model, tokens):
    padded = torch.cat([tokens, torch.full((4, 5), PAD)], dim=1)
    for one, other in zip(model.posterior(tokens, VALUES, MASK), model.posterior(padded, VALUES, MASK), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        model.posterior(tokens[:1], VALUES[:1], MASK[:1])[0], model.posterior(tokens, VALUES, MASK)[0][:1], atol=1e-5, rtol=1e-5
    )


def test_the_reader_looks_both_ways_and_the_writer_back_only(model, tokens):
    changed = tokens.clone()
    changed[:, 8] = 5 + (changed[:, 8] - 4) % 25
    assert (model.posterior(tokens, VALUES, MASK)[0] - model.posterior(changed, VALUES, MASK)[0]).abs().min() > 0
    # What an early token adds to the pooled vector depends on a late one: without a look ahead the first position would stay as it is.
    seen = []
    hook = model.encoder.final_norm.register_forward_hook(lambda *call: seen.append(call[2][:, 0]))
    model.posterior(tokens, VALUES, MASK), model.posterior(changed, VALUES, MASK)
    hook.remove()
    assert (seen[0] - seen[1]).abs().max() > 1e-3
    before, after = (model.decode(ids, LATENTS, VALUES, MASK) for ids in (tokens, changed))
    torch.testing.assert_close(before[:, :8], after[:, :8])
    assert (before[:, 8:] - after[:, 8:]).abs().max() > 1e-3


def test_every_position_hears_the_latent_and_the_properties(model, tokens):
    logits = model.decode(tokens, LATENTS, VALUES, MASK)
    for other in (model.decode(tokens, LATENTS + 1, VALUES, MASK), model.decode(tokens, LATENTS, VALUES, ~MASK)):
        assert (logits - other).abs().amax(dim=-1).min() > 1e-4
    assert (model.posterior(tokens, VALUES, MASK)[0] - model.posterior(tokens, VALUES, ~MASK)[0]).abs().max() > 1e-4


def test_a_missing_value_may_be_nan(model, tokens):
    values = VALUES.clone()
    values[:, 1] = float("nan")
    mask = ~values.isnan()
    mean, _ = model.posterior(tokens, values, mask)
    assert model.decode(tokens, mean, values, mask).isfinite().all()


def test_the_cache_gives_the_logits_of_the_full_pass(model, tokens):
    full = model.decode(tokens, LATENTS, VALUES, MASK)
    logits, cache = model.begin(LATENTS, VALUES, MASK, capacity=12)
    for position in range(11):
        torch.testing.assert_close(logits, full[:, position], atol=1e-4, rtol=1e-4)
        logits = model.advance(tokens[:, position + 1], cache)


@pytest.mark.parametrize("latents", [torch.zeros(4, 5), torch.zeros(6), torch.zeros(4, 1, 6)])
def test_a_latent_of_the_wrong_width_is_refused(model, latents):
    with pytest.raises(MoleculeModelError, match=r"latents are .*expects molecules x 6"):
        model.begin(latents, VALUES, MASK, 5)


def test_every_weight_learns(model, tokens):
    mean, log_variance = model.posterior(tokens, VALUES, MASK)
    latents = mean + torch.randn(mean.shape) * (0.5 * log_variance).exp()
    model.decode(tokens, latents, VALUES, MASK).square().mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.abs().sum()] == []


@pytest.mark.parametrize("sizes", [{"width": 25}, {"property_width": 6}])
def test_widths_that_do_not_divide_are_refused(sizes):
    with pytest.raises(ValueError, match="is not a multiple of heads 4"):
        replace(SHAPE, **sizes)


def test_a_model_that_knows_no_property(tokens):
    model = PolyVAE(replace(SHAPE, properties=(), property_mean=(), property_std=()))
    nothing = torch.zeros(4, 0)
    mean, _ = model.posterior(tokens, nothing, nothing.bool())
    assert model.begin(mean, nothing, nothing.bool(), 3)[0].shape == (4, 30)


TOKENIZER = train_smiles_tokenizer(enumerated_molecules(50), SmilesTokenizerConfig(vocabulary_size=30))


def test_the_folder_gives_the_model_back_with_the_same_bytes(model, tokens, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_polyvae(tmp_path / name, model, TOKENIZER)
        model, _ = load_polyvae(tmp_path / name)
    files = {path.name for path in (tmp_path / "one").iterdir()}
    assert files == {"config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"}
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    assert model.shape == SHAPE and not model.training


def test_a_tokenizer_of_another_model_is_refused(model, tmp_path):
    save_polyvae(tmp_path, model, train_smiles_tokenizer(enumerated_molecules(50), SmilesTokenizerConfig(vocabulary_size=None)))
    with pytest.raises(MoleculeModelError, match="do not belong together"):
        load_polyvae(tmp_path)


def test_a_folder_of_another_model_is_refused(model, tmp_path):
    save_polyvae(tmp_path, model, TOKENIZER)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "model_type": "polygpt"}))
    with pytest.raises(MoleculeModelError, match="not the configuration of a PolyVAE"):
        load_polyvae(tmp_path)
