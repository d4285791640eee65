"""PolyGPT compiled: the same steps up to rounding, few compilations over many lengths, and what a step needs, counted."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from stages.reporting import Reporter
from tests.training.polymers.toy_molecules import write_molecules
from training.loop.compiling import Compiled, compilations
from training.loop.devices import Devices
from training.polymers.batches import BatchStream
from training.polymers.data import TOKENIZER
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.data import read_data
from training.polymers.gpt.losses import polygpt_losses
from training.polymers.gpt.trainer import PolyGPTTrainer, model_flops
from training.polymers.smiles_tokenizer import SmilesTokenizerConfig, save_smiles_tokenizer, train_smiles_tokenizer

# The compiler looks at the gradients of whatever it meets.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
CPU = Devices(torch.device("cpu"))
SIZES = {"maximum_tokens": 40, "width": 32, "layers": 1, "heads": 2, "dropout": 0.0, "predictor_width": 8}
BUDGET = {"pretrain_samples": 64, "finetune_samples": 256, "batch_size": 16, "warmup_samples": 0}
CONFIG = PolyGPTConfig(properties=("length", "rings"), learning_rate=1e-3, **SIZES, **BUDGET)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("molecules")
    smiles = write_molecules(folder)
    (folder / TOKENIZER).mkdir()
    save_smiles_tokenizer(train_smiles_tokenizer(smiles, SmilesTokenizerConfig(vocabulary_size=None)), folder / TOKENIZER)
    return read_data(folder, CONFIG, Reporter())


def compiled_trainer(data, backend="eager") -> PolyGPTTrainer:
    trainer = PolyGPTTrainer(data, CONFIG, CPU)
    trainer.losses = Compiled(polygpt_losses, "polygpt", "on", CPU.device, backend=backend)
    return trainer


@pytest.mark.slow
def test_compiled_steps_are_those_of_the_plain_path_and_few_graphs_do_for_all_lengths(data):
    torch._dynamo.reset()
    plain, compiled, before = PolyGPTTrainer(data, CONFIG, CPU), compiled_trainer(data), compilations()
    while plain.samples_seen < CONFIG.total_samples:
        outcomes = [trainer.step() for trainer in (plain, compiled)]
        for name, value in outcomes[0].values.items():
            assert float(outcomes[1].values[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-5), name
    assert compiled.losses.is_on
    # Two phases, each compiled once for its first length and once for any.
    assert 2 <= compilations() - before <= 4


def test_operations_of_a_molecule_are_those_that_torch_counts(data):
    trainer, one = PolyGPTTrainer(data, CONFIG, CPU), data.pretrain.drawn(1, 0)
    batch = BatchStream(one, 1, 0, "pretrain").next(at_most=1)
    with FlopCounterMode(display=False) as counted:
        polygpt_losses(trainer.model, batch, trainer.weights, batch.denominators()).total.backward()
    # The property predictor, which is left out, is a twentieth at this size.
    assert model_flops(trainer.model, [one]) == pytest.approx(counted.get_total_flops(), rel=0.08)
    assert trainer.flops_per_sample == model_flops(trainer.model, [data.pretrain, data.finetune])


def test_a_trial_of_memory_learns_nothing_and_draws_nothing(data):
    trainer = PolyGPTTrainer(data, CONFIG, CPU)
    before, state = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}, torch.get_rng_state()
    trainer.trial(3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and all(parameter.grad is None for parameter in trainer.parameters)
