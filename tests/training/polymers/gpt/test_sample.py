"""Sampling: the right distribution, the same molecules however they are batched, and clear answers to bad requests."""

import json

import pyarrow.parquet as pq
import pytest
import torch

from tests.training.polymers.gpt.test_networks import SHAPE
from tests.training.polymers.toy_molecules import enumerated_molecules, write_molecules
from training.polymers.decoding import SamplingSettings, choose_token, sample_molecules, sample_tokens
from training.polymers.gpt import PolyGPT, save_polygpt
from training.polymers.gpt.sample import PolyGPTWriter, main
from training.polymers.smiles_tokenizer import BOS, EOS, MASK, PAD, UNK, SmilesTokenizerConfig, train_smiles_tokenizer

TOKENIZER = train_smiles_tokenizer(enumerated_molecules(50), SmilesTokenizerConfig(vocabulary_size=30))
EVEN = torch.linspace(0, 1, 20_001)[:-1]


@pytest.fixture
def model() -> PolyGPT:
    torch.manual_seed(0)
    model = PolyGPT(SHAPE).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
        # What is written next depends on place and properties enough for molecules to differ and to end at different lengths.
        model.position_embedding.weight.mul_(3)
        model.property_encoder[2].weight.mul_(10)
    return model


def without_cache(model: PolyGPT, prefix: torch.Tensor, steps: int) -> torch.Tensor:
    """Greedy tokens from the full forward at every step: the reference."""
    tokens = torch.full((len(prefix), 1), BOS)
    for _ in range(steps):
        logits = model.logits(model(tokens, prefix)[:, -1])
        tokens = torch.cat([tokens, choose_token(logits, torch.zeros(len(prefix)), SamplingSettings(temperature=0)).unsqueeze(-1)], dim=1)
    written = tokens[:, 1:]
    ended = (written == EOS).cumsum(dim=-1) - (written == EOS).long() > 0
    return written.masked_fill(ended, PAD)


def requests(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.linspace(-2, 2, 2 * rows).view(rows, 2), torch.ones(rows, 2, dtype=torch.bool)


def test_greedy_with_the_cache_equals_greedy_without(model):
    values, mask = requests(16)
    with torch.no_grad():
        expected = without_cache(model, model.property_embedding(values, mask), 19)
        assert torch.equal(sample_tokens(PolyGPTWriter(model, TOKENIZER), values, mask, SamplingSettings(temperature=0)), expected)
    assert len({tuple(row) for row in expected.tolist()}) > 1


def test_molecules_do_not_depend_on_how_they_are_batched(model):
    wanted = [{}] * 10 + [{"mol_wt": 100.0 + row} for row in range(10)]
    at_once = list(sample_molecules(PolyGPTWriter(model, TOKENIZER), wanted, SamplingSettings(batch_size=20, seed=3)))
    in_parts = list(sample_molecules(PolyGPTWriter(model, TOKENIZER), wanted, SamplingSettings(batch_size=3, seed=3)))
    fewer = list(sample_molecules(PolyGPTWriter(model, TOKENIZER), wanted[:7], SamplingSettings(batch_size=20, seed=3)))
    assert at_once == in_parts and at_once[:7] == fewer
    assert at_once != list(sample_molecules(PolyGPTWriter(model, TOKENIZER), wanted, SamplingSettings(batch_size=20, seed=4)))
    assert {molecule.finished for molecule in at_once} == {True, False}


def test_tokens_are_chosen_as_often_as_their_probability_says():
    logits = torch.full((1, 8), -50.0)
    logits[0, 5:8] = torch.tensor([0.5, 0.3, 0.2]).log()
    chosen = choose_token(logits.expand(len(EVEN), -1), EVEN, SamplingSettings())
    assert (torch.bincount(chosen, minlength=8)[5:].float() / len(EVEN)).tolist() == pytest.approx([0.5, 0.3, 0.2], abs=1e-3)


def test_a_low_temperature_sharpens():
    logits = torch.full((1, 8), -50.0)
    logits[0, 5:8] = torch.tensor([0.5, 0.3, 0.2]).log()
    chosen = choose_token(logits.expand(len(EVEN), -1), EVEN, SamplingSettings(temperature=0.5))
    assert float((chosen == 5).float().mean()) == pytest.approx(0.25 / 0.38, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "kept"), [({"top_k": 2}, {5, 6}), ({"top_p": 0.5}, {5}), ({"top_p": 0.75}, {5, 6}), ({"top_p": 1.0}, {5, 6, 7})]
)
def test_top_k_and_top_p_keep_the_likeliest(settings, kept):
    logits = torch.full((1, 8), float("-inf"))
    logits[0, 5:8] = torch.tensor([0.5, 0.3, 0.2]).log()
    assert set(choose_token(logits.expand(len(EVEN), -1), EVEN, SamplingSettings(**settings)).tolist()) == kept


def test_special_tokens_other_than_the_end_are_never_chosen():
    logits = torch.zeros(len(EVEN), 8)
    logits[:, [PAD, BOS, UNK, MASK]] = 50.0
    assert set(choose_token(logits, EVEN, SamplingSettings()).tolist()) == {EOS, 5, 6, 7}


def test_nothing_follows_the_end(model):
    tokens = sample_tokens(PolyGPTWriter(model, TOKENIZER), *requests(50), SamplingSettings(seed=1))
    for row in tokens.tolist():
        if EOS in row:
            assert set(row[row.index(EOS) + 1 :]) <= {PAD}


def test_sampling_leaves_the_global_generators_alone(model):
    state = torch.get_rng_state()
    sample_tokens(PolyGPTWriter(model, TOKENIZER), *requests(2), SamplingSettings())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("settings", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}, {"batch_size": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        SamplingSettings(**settings)


@pytest.fixture
def project(tmp_path, model):
    """A data folder with molecules that have the model's properties, and the model."""
    from dataclasses import replace

    shape = replace(SHAPE, properties=("length", "rings"), property_units={"length": "characters", "rings": ""})
    renamed = PolyGPT(shape)
    renamed.load_state_dict(model.state_dict())
    write_molecules(tmp_path / "data", number=60)
    (tmp_path / "data/polygpt").mkdir()
    save_polygpt(tmp_path / "data/polygpt", renamed, TOKENIZER)
    (tmp_path / "params.yaml").write_text("polygpt_samples: {unconditional: 5, conditional: 15, temperatures: [1.0, 0.5], batch_size: 4}\n")
    return tmp_path


def stage(project, *more: str) -> int:
    return main(["--params", str(project / "params.yaml"), "--data", str(project / "data"), *more])


def test_the_stage_writes_every_mode_and_temperature_and_the_same_bytes_twice(project):
    assert stage(project) == 0
    path = project / "data/polygpt_samples/samples.parquet"
    first, table = path.read_bytes(), pq.read_table(path)
    assert table.schema.names == ["index", "mode", "temperature", "smiles", "finished", "requested_length", "requested_rings"]
    rows = table.to_pylist()
    assert [(row["mode"], row["temperature"]) for row in rows] == [
        (mode, temperature) for temperature in (1.0, 0.5) for mode, number in (("unconditional", 5), ("conditional", 15)) for _ in range(number)
    ]
    assert all(row["requested_length"] is None for row in rows if row["mode"] == "unconditional")
    # The properties asked for are those of the test split, each once before any comes again: it has twelve molecules here.
    held_out = [float(len(smiles)) for row, smiles in enumerate(enumerated_molecules(60)) if row % 5 == 4]
    asked = [row["requested_length"] for row in rows if row["mode"] == "conditional"]
    assert sorted(asked[:12]) == sorted(held_out) and asked[:12] != held_out and asked == (asked[:12] + asked[:3]) * 2
    assert table.schema.field("requested_length").metadata == {b"unit": b"characters"}
    assert stage(project) == 0 and path.read_bytes() == first


def test_molecules_can_be_printed_by_hand(project, capsys):
    assert main(["--model", str(project / "data/polygpt"), "--number", "4", "--temperature", "0.7"]) == 0
    assert len(capsys.readouterr().out.split("\n")) == 5


def test_molecules_on_request_are_a_table_of_what_was_asked_for_and_what_came(project, capsys):
    pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")
    asked = ["--property", "length=8:14", "--property", "rings=1"]
    assert main(["--model", str(project / "data/polygpt"), "--number", "4", *asked, "--out", str(project / "out.csv")]) == 0
    told = capsys.readouterr()
    rows = [line.split(",") for line in (project / "out.csv").read_text().splitlines()]
    assert told.out == "" and rows[0] == ["smiles", "valid", "requested_length", "obtained_length", "requested_rings", "obtained_rings"]
    assert sorted(float(row[2]) for row in rows[1:]) == [8, 10, 12, 14] and {row[4] for row in rows[1:]} == {"1"}
    assert "of 4 molecules are valid" in told.err and "length: RDKit cannot compute it" in told.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--property", "lenght=3"], 1, "did you mean 'length'"),
        (["--property", "length=many"], 2, "--property takes name=number"),
        (["--property", "length=1:many"], 2, "or name=low:high"),
        (["--property", "length=1", "--property", "length=2"], 2, "--property names length twice"),
        (["--temperature", "-1"], 2, "temperature must not be negative"),
    ],
)
def test_bad_requests_by_hand_are_one_line(project, capsys, arguments, code, message):
    assert main(["--model", str(project / "data/polygpt"), *arguments]) == code
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


def test_a_model_that_is_not_there_is_one_line(tmp_path, capsys):
    (tmp_path / "params.yaml").write_text("polygpt_samples: {}\n")
    assert stage(tmp_path) == 1
    assert "figment materialize polygpt" in capsys.readouterr().err


def test_a_dataset_without_the_models_properties_is_named(project, capsys):
    config = project / "data/polygpt/config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "properties": ["length", "ring"]}))
    assert stage(project) == 1
    assert "no property 'ring' (did you mean 'rings'?)" in capsys.readouterr().err
