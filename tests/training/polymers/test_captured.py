"""A recorded step writes what the plain loop writes, is one that a CUDA graph can hold, and is done without where it cannot be recorded."""

import logging

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.polymers.gpt.test_networks import SHAPE
from tests.training.polymers.toy_molecules import enumerated_molecules
from training.polymers import captured
from training.polymers.captured import LOOK_EVERY, Recorder
from training.polymers.decoding import SamplingSettings, sample_tokens
from training.polymers.gpt import PolyGPT
from training.polymers.gpt.sample import PolyGPTWriter
from training.polymers.smiles_tokenizer import EOS, SmilesTokenizerConfig, train_smiles_tokenizer
from training.polymers.vae.networks import PolyVAE, PolyVAEShape
from training.polymers.vae.writer import PolyVAEWriter

TOKENIZER = train_smiles_tokenizer(enumerated_molecules(50), SmilesTokenizerConfig(vocabulary_size=30))
aten = torch.ops.aten
# What reads a number from the device, or brings one from the host: a graph holds neither.
FORBIDDEN = {aten._local_scalar_dense.default, aten.lift_fresh.default, aten.nonzero.default, aten.is_nonzero.default}


class Watched(TorchDispatchMode):
    """What was done in place, by operation and address; how often the host read something or gave something."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.with_host = list[tuple[str, int]](), 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.with_host += function in FORBIDDEN
        if function._schema.is_mutable:
            self.places.append((str(function), arguments[0].data_ptr()))
        return function(*arguments, **(named or {}))


class Graph:
    """Stands for a CUDA graph: runs the step, and sees whether a recording of the first time would have done the same."""

    def __init__(self) -> None:
        self.runs = list[Watched]()

    def __call__(self, step):
        def replay() -> None:
            with Watched() as watched:
                step()
            self.runs.append(watched)

        return replay

    def assert_could_be_held(self) -> None:
        # Softmax and its like work in place on fresh tensors too; what is there before and after must lie where it lay.
        kept = [set(run.places) for run in self.runs]
        lasting = [{place for place in run if place in kept[0]} for run in kept]
        assert all(run.with_host == 0 for run in self.runs)
        for name, number in (("index_copy_", 2 * SHAPE.layers + 1), ("add_", 2), ("copy_", 1), ("logical_or_", 1)):
            assert all(sum(f"aten.{name}" in operation for operation, _ in run) >= number for run in lasting), name


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
def test_recorded_steps_write_the_same_and_could_be_held_by_a_graph(number, settings):
    writer, graph, wanted = writers()[number], Graph(), requests(24)
    plain = sample_tokens(writer, *wanted, SamplingSettings(**settings))
    recorded = sample_tokens(writer, *wanted, SamplingSettings(**settings), recorder=Recorder(graph))
    assert torch.equal(plain, recorded) and (len({tuple(row) for row in plain.tolist()}) > 3 or not settings.get("temperature", 1))
    assert len(graph.runs) >= 10
    graph.assert_could_be_held()


def test_a_step_that_reads_or_brings_a_number_would_be_found():
    graph = Graph()
    for step in (lambda: float(torch.zeros(1).sum()), lambda: torch.tensor([1.0]) + 1):
        graph(step)()
    assert all(run.with_host for run in graph.runs)
    with pytest.raises(AssertionError):
        graph.assert_could_be_held()


def test_molecules_are_the_same_in_recorded_batches_of_any_size():
    writer, settings, (values, mask) = writers()[0], SamplingSettings(seed=5), requests(9)
    together = sample_tokens(writer, values, mask, settings, recorder=Recorder(Graph()))
    for row in range(9):
        place = slice(row, row + 1)
        alone = sample_tokens(writer, values[place], mask[place], settings, first_index=row, recorder=Recorder(Graph()))
        assert torch.equal(alone[0], together[row, : alone.shape[1]])


class Ending(PolyGPT):
    """Ends each molecule at once."""

    def logits(self, hidden):
        return super().logits(hidden).index_fill(-1, torch.tensor([EOS]), 1e4)


def test_the_end_is_looked_for_every_few_steps_alone():
    model, graph, steps = Ending(SHAPE).eval(), Graph(), SHAPE.maximum_tokens - 1
    written = sample_tokens(PolyGPTWriter(model, TOKENIZER), *requests(4), SamplingSettings(), steps=steps, recorder=Recorder(graph))
    assert (written[:, 0] == EOS).all() and not written[:, 1:].any()
    assert len(graph.runs) == LOOK_EVERY - 1 - Recorder(graph).warm_up


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_texts_as_short_as_the_warm_up_are_written_too(steps):
    writer, wanted = writers()[0], requests(6)
    plain = sample_tokens(writer, *wanted, SamplingSettings(), steps=steps)
    assert torch.equal(sample_tokens(writer, *wanted, SamplingSettings(), steps=steps, recorder=Recorder(Graph())), plain)


def test_what_cannot_be_recorded_is_written_without_and_said_once(caplog, monkeypatch):
    monkeypatch.setattr(captured, "_said", set())

    def fails(step):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    writer, wanted = writers()[0], requests(6)
    plain = sample_tokens(writer, *wanted, SamplingSettings())
    for _ in range(2):
        assert torch.equal(sample_tokens(writer, *wanted, SamplingSettings(), recorder=Recorder(fails)), plain)
    (line,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert "without a CUDA graph" in line and "not permitted when stream is capturing" in line
