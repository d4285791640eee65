"""A recorded step writes what the plain loop writes, and is done without where it cannot be recorded."""

import logging

import pytest
import torch

from tests.training.gans.recorded_steps import Refusing, Tape
from tests.training.polymers.gpt.test_networks import SHAPE
from tests.training.polymers.toy_molecules import enumerated_molecules
from training.loop import captured
from training.loop.captured import LOOK_EVERY, WARM_UP
from training.polymers.decoding import SamplingSettings, sample_tokens
from training.polymers.gpt import PolyGPT
from training.polymers.gpt.sample import PolyGPTWriter
from training.polymers.smiles_tokenizer import EOS, SmilesTokenizerConfig, train_smiles_tokenizer
from training.polymers.vae.networks import PolyVAE, PolyVAEShape
from training.polymers.vae.writer import PolyVAEWriter

TOKENIZER = train_smiles_tokenizer(enumerated_molecules(50), SmilesTokenizerConfig(vocabulary_size=30))


def writers() -> list:
    torch.manual_seed(0)
    shape = {
        name: getattr(SHAPE, name) for name in ("vocabulary_size", "maximum_tokens", "properties", "property_mean", "property_std", "property_units")
    }
    made = [PolyGPT(SHAPE).eval(), PolyVAE(PolyVAEShape(**shape, width=16, layers=SHAPE.layers, heads=2, latent=4)).eval()]
    with torch.no_grad():
        for parameter in (parameter for model in made for parameter in model.parameters()):
            parameter.normal_(std=0.3)
        for model in made:
            model.position_embedding.weight.mul_(3)
    return [PolyGPTWriter(made[0], TOKENIZER), PolyVAEWriter(made[1], TOKENIZER)]


def requests(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.linspace(-2, 2, 2 * rows).view(rows, 2), torch.ones(rows, 2, dtype=torch.bool)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"seed": 3}, {"seed": 4, "top_k": 5, "top_p": 0.9, "temperature": 0.7}])
@pytest.mark.parametrize("number", [0, 1], ids=["PolyGPT", "PolyVAE"])
def test_recorded_steps_write_the_same(number, settings):
    writer, tape, wanted = writers()[number], Tape(), requests(24)
    plain = sample_tokens(writer, *wanted, SamplingSettings(**settings))
    recorded = sample_tokens(writer, *wanted, SamplingSettings(**settings), recorder=tape)
    assert torch.equal(plain, recorded) and (len({tuple(row) for row in plain.tolist()}) > 3 or not settings.get("temperature", 1))
    assert tape.recorded == 1 and tape.played >= 10


@pytest.mark.parametrize("call", [lambda: float(torch.zeros(1).sum()), lambda: torch.tensor([1.0]) + 1])
def test_a_step_that_reads_or_brings_a_number_would_be_found(call):
    with pytest.raises(RuntimeError, match="reads or brings"):
        Tape().record(call)


def test_molecules_are_the_same_in_recorded_batches_of_any_size():
    writer, settings, (values, mask) = writers()[0], SamplingSettings(seed=5), requests(9)
    together = sample_tokens(writer, values, mask, settings, recorder=Tape())
    for row in range(9):
        place = slice(row, row + 1)
        alone = sample_tokens(writer, values[place], mask[place], settings, first_index=row, recorder=Tape())
        assert torch.equal(alone[0], together[row, : alone.shape[1]])


class Ending(PolyGPT):
    """Ends each molecule at once."""

    end = torch.tensor([EOS])

    def logits(self, hidden):
        return super().logits(hidden).index_fill(-1, self.end, 1e4)


def test_the_end_is_looked_for_every_few_steps_alone():
    model, tape, steps = Ending(SHAPE).eval(), Tape(), SHAPE.maximum_tokens - 1
    written = sample_tokens(PolyGPTWriter(model, TOKENIZER), *requests(4), SamplingSettings(), steps=steps, recorder=tape)
    assert (written[:, 0] == EOS).all() and not written[:, 1:].any()
    assert tape.played == LOOK_EVERY - 1 - WARM_UP


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_texts_as_short_as_the_warm_up_are_written_too(steps):
    writer, wanted = writers()[0], requests(6)
    plain = sample_tokens(writer, *wanted, SamplingSettings(), steps=steps)
    assert torch.equal(sample_tokens(writer, *wanted, SamplingSettings(), steps=steps, recorder=Tape()), plain)


def test_what_cannot_be_recorded_is_written_without_and_said_once(caplog, monkeypatch):
    monkeypatch.setattr(captured, "_said", set())
    writer, wanted = writers()[0], requests(6)
    plain = sample_tokens(writer, *wanted, SamplingSettings())
    for _ in range(2):
        assert torch.equal(sample_tokens(writer, *wanted, SamplingSettings(), recorder=Refusing()), plain)
    (line,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert "without a CUDA graph" in line and "not permitted when stream is capturing" in line
