"""Molecules from latents: of the prior, of given places, and on the way between two molecules."""

import math

import pyarrow.parquet as pq
import pytest
import torch

from tests.training.polymers.toy_molecules import enumerated_molecules, write_molecules
from tests.training.polymers.vae.test_networks import LATENTS, MASK, SHAPE, TOKENIZER, VALUES
from training.polymers.decoding import SamplingSettings, choose_token, sample_molecules
from training.polymers.smiles_tokenizer import BOS, EOS, PAD
from training.polymers.vae import PolyVAE, PolyVAEShape, save_polyvae
from training.polymers.vae.sample import main
from training.polymers.vae.writer import PolyVAEWriter, write_from


def random_model(shape: PolyVAEShape = SHAPE) -> PolyVAE:
    torch.manual_seed(0)
    model = PolyVAE(shape).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
        # What is written next depends on place and latent enough for molecules to differ and to end at different lengths.
        model.position_embedding.weight.mul_(3)
        model.from_latent[2].weight.mul_(10)
    return model


def test_greedy_with_the_cache_equals_greedy_without():
    model = random_model()
    tokens = torch.full((4, 1), BOS)
    with torch.no_grad():
        for _ in range(19):
            logits = model.decode(tokens, LATENTS, VALUES, MASK)[:, -1]
            tokens = torch.cat([tokens, choose_token(logits, torch.zeros(4), SamplingSettings(temperature=0)).unsqueeze(-1)], dim=1)
    written = tokens[:, 1:]
    ended = (written == EOS).cumsum(dim=-1) - (written == EOS).long() > 0
    assert torch.equal(write_from(model, TOKENIZER, LATENTS, VALUES, MASK), written.masked_fill(ended, PAD))
    assert len({tuple(row) for row in written.tolist()}) > 1


def test_molecules_do_not_depend_on_how_they_are_batched():
    writer = PolyVAEWriter(random_model(), TOKENIZER)
    wanted = [{}] * 6 + [{"mol_wt": 100.0 + row} for row in range(6)]
    at_once, in_parts = (list(sample_molecules(writer, wanted, SamplingSettings(batch_size=size, seed=3))) for size in (12, 5))
    assert at_once == in_parts
    assert at_once != list(sample_molecules(writer, wanted, SamplingSettings(batch_size=12, seed=4)))
    # Greedily as well: what differs then are the latents, each its molecule's own.
    assert len(set(sample_molecules(writer, [{}] * 12, SamplingSettings(temperature=0)))) > 1


@pytest.fixture
def project(tmp_path):
    shape = PolyVAEShape(**{**SHAPE.__dict__, "properties": ("length", "rings"), "property_units": {"length": "characters", "rings": ""}})
    write_molecules(tmp_path / "data", number=60)
    (tmp_path / "data/polyvae").mkdir()
    save_polyvae(tmp_path / "data/polyvae", random_model(shape), TOKENIZER)
    (tmp_path / "params.yaml").write_text("polyvae_samples: {unconditional: 5, conditional: 4, temperatures: [1.0]}\n")
    return tmp_path


def stage(project, *more: str) -> int:
    return main(["--params", str(project / "params.yaml"), "--data", str(project / "data"), *more])


def test_the_stage_writes_every_mode_and_the_same_bytes_twice(project):
    assert stage(project) == 0
    path = project / "data/polyvae_samples/samples.parquet"
    first = path.read_bytes()
    assert pq.read_table(path)["mode"].to_pylist() == ["unconditional"] * 5 + ["conditional"] * 4
    assert stage(project) == 0 and path.read_bytes() == first


def test_an_unknown_property_is_one_line(project, capsys):
    assert main(["--model", str(project / "data/polyvae"), "--property", "lenght=3"]) == 1
    error = capsys.readouterr().err.strip()
    assert "did you mean 'length'" in error and "\n" not in error


def test_a_model_that_is_not_there_is_one_line(tmp_path, capsys):
    (tmp_path / "params.yaml").write_text("polyvae_samples: {}\n")
    assert stage(tmp_path) == 1
    assert "figment materialize polyvae" in capsys.readouterr().err


def test_the_great_arc_keeps_its_length_and_ends_where_it_should():
    pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")
    from training.polymers.vae.interpolate import slerp

    one, other = torch.randn(32), torch.randn(32)
    other *= one.norm() / other.norm()
    torch.testing.assert_close(slerp(one, other, 0.0), one)
    torch.testing.assert_close(slerp(one, other, 1.0), other)
    half = slerp(one, other, 0.5)
    assert math.isclose(half.norm(), one.norm(), rel_tol=1e-4)
    assert math.isclose((half - one).norm(), (half - other).norm(), rel_tol=1e-4)
    torch.testing.assert_close(slerp(one, 2 * one, 0.5), 1.5 * one)


@pytest.fixture
def between(tmp_path):
    """`interpolate` on a model that knows mol_wt and tpsa, with arguments behind the model's."""
    pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")
    from training.polymers.vae import interpolate

    (tmp_path / "model").mkdir()
    save_polyvae(tmp_path / "model", random_model(), TOKENIZER)
    return lambda *more: interpolate.main(["--model", str(tmp_path / "model"), *more])


@pytest.mark.parametrize("path", ["slerp", "lerp"])
def test_the_way_between_two_molecules_is_a_strip_and_a_table(between, tmp_path, path):
    for name in ("one", "two"):
        assert between("CCO", "C1CC1", "--steps", "5", "--path", path, "--out", str(tmp_path / f"{name}.png")) == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    rows = [line.split(",") for line in (tmp_path / "one.csv").read_text().splitlines()]
    assert rows[0] == ["smiles", "valid", "requested_mol_wt", "obtained_mol_wt", "requested_tpsa", "obtained_tpsa"]
    # Ethanol and cyclopropane, by RDKit, and in equal steps between.
    assert [float(row[2]) for row in rows[1:]] == pytest.approx([46.069, 45.072, 44.075, 43.078, 42.081], abs=0.01)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (("CCO", "C1CC"), "'C1CC' is not a SMILES that RDKit can read"),
        (("", "CCO"), "'' is not a SMILES"),
        (("CCO", "[Pt]"), "'[Pt]' has an atom or bond outside the model's vocabulary"),
        (("CCO", "CO" * 40), "the model reads at most 20"),
    ],
)
def test_molecules_that_the_model_cannot_read_are_refused_in_one_line(between, capsys, ends, message):
    assert between(*ends) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


def test_the_vocabulary_is_named_where_an_atom_is_outside(between, capsys):
    assert between("CCO", "[Pt]") == 1
    assert enumerated_molecules(1)[0][0] in capsys.readouterr().err
