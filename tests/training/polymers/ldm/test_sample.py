"""Sampling: molecules that do not depend on their batch, the same bytes twice, from a fresh process, and clear answers to bad requests."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from tests import warm
from tests.training.harness import places
from tests.training.polymers.ldm.conftest import LATENT
from training.polymers.decoding import SamplingSettings
from training.polymers.ldm import PolyLDM, PolyLDMShape, load_polyldm, save_polyldm
from training.polymers.ldm.sample import LatentSettings, main, sample, write
from training.polymers.vae import load_polyvae


@pytest.fixture
def trained(project) -> Path:
    """The project with a PolyLDM of random weights, large enough for wishes to be heard."""
    vae, tokenizer = load_polyvae(project / "data/polyvae")
    known = {"latent": LATENT, "vocabulary_size": vae.shape.vocabulary_size, "properties": vae.shape.properties}
    torch.manual_seed(2)
    model = PolyLDM(PolyLDMShape(hidden_width=16, step_width=8, diffusion_steps=100, **known), vae)
    (project / "data/polyldm").mkdir()
    save_polyldm(project / "data/polyldm", model, tokenizer)
    return project


def test_molecules_do_not_depend_on_how_they_are_batched(trained):
    model, tokenizer = load_polyldm(trained / "data/polyldm")
    wanted = [{}] * 10 + [{"length": 5.0 + row} for row in range(10)]
    how = LatentSettings(batch_size=20, seed=3, steps=5, eta=0.5, guidance=5.0)
    at_once = list(write(model, tokenizer, wanted, how))
    assert at_once == list(write(model, tokenizer, wanted, replace(how, batch_size=3)))
    assert at_once[:7] == list(write(model, tokenizer, wanted[:7], how))
    # Noise on the way, guidance and the seed each count.
    for change in ({"eta": 0.0}, {"guidance": 1.0}, {"seed": 4}):
        assert at_once != list(write(model, tokenizer, wanted, replace(how, **change)))


def test_settings_that_know_nothing_of_latents_mean_the_usual_ones(trained):
    model, tokenizer = load_polyldm(trained / "data/polyldm")
    plain, usual = SamplingSettings(temperature=0.7, seed=1), LatentSettings(temperature=0.7, seed=1)
    assert list(write(model, tokenizer, [{}] * 3, plain)) == list(write(model, tokenizer, [{}] * 3, usual))


def test_the_stage_writes_every_mode_and_the_same_bytes_twice(trained):
    assert main(places(trained)) == 0
    path = trained / "data/polyldm_samples/samples.parquet"
    first, table = path.read_bytes(), pq.read_table(path)
    assert table.num_rows == 40 and set(table["mode"].to_pylist()) == {"unconditional", "conditional"}
    assert table.schema.field("requested_length").metadata == {b"unit": b"characters"}
    assert main(places(trained)) == 0 and path.read_bytes() == first


def test_it_loads_alone_in_a_fresh_process(trained, tmp_path):
    moved = (trained / "data/polyldm").rename(tmp_path / "elsewhere")
    model, tokenizer = load_polyldm(moved)
    program = (
        "import sys; from training.polymers.ldm import load_polyldm; from training.polymers.ldm.sample import sample; "
        "print(*sample(*load_polyldm(sys.argv[1]), number=3, temperature=0.7, seed=1), sep='\\n')"
    )
    told = warm.run("-c", program, str(moved), imports=["torch"])
    assert told.stdout.splitlines() == sample(model, tokenizer, number=3, temperature=0.7, seed=1), told.stderr


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("eta=1.5", 2, "eta must lie in [0, 1]"),
        ("steps=0", 2, "steps must be at least 1"),
        ("guidance=-1", 2, "guidance must be at least 0"),
        ("steps=101", 1, "101 steps, expected 1 to 100"),
    ],
)
def test_bad_parameters_are_one_line(trained, capsys, override, code, message):
    assert main(places(trained, override)) == code
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_guidance_of_a_model_without_condition_dropout_is_one_line(trained, capsys):
    config = trained / "data/polyldm/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "condition_dropout": 0.0}))
    assert main(places(trained)) == 1
    assert "guidance 2, but this PolyLDM was trained without condition dropout" in capsys.readouterr().err


def test_an_unknown_property_by_hand_is_one_line(trained, capsys):
    assert main(["--model", str(trained / "data/polyldm"), "--property", "lenght=3"]) == 1
    assert "did you mean 'length'" in capsys.readouterr().err
