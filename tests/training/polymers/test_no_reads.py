"""A step of any training of molecules reads no number from the device after the first ones, and one that is bad is left out there."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from stages.reporting import Reporter
from tests.training.gans.recorded_steps import reads_counted
from tests.training.polymers.toy_molecules import write_molecules
from training.loop.devices import Devices
from training.polymers.batches import BatchStream
from training.polymers.data import TOKENIZER
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.data import read_data as read_polygpt_data
from training.polymers.gpt.trainer import PolyGPTTrainer
from training.polymers.ldm.config import PolyLDMConfig
from training.polymers.ldm.latents import LatentSet
from training.polymers.ldm.trainer import PolyLDMTrainer
from training.polymers.predictor.config import PredictorConfig
from training.polymers.predictor.data import read_labelled
from training.polymers.predictor.trainer import PredictorTrainer
from training.polymers.smiles_tokenizer import SmilesTokenizerConfig, save_smiles_tokenizer, train_smiles_tokenizer
from training.polymers.vae import PolyVAE
from training.polymers.vae.config import PolyVAEConfig
from training.polymers.vae.train import read_data as read_polyvae_data
from training.polymers.vae.trainer import PolyVAETrainer

CPU = Devices(torch.device("cpu"))
SIZES: dict[str, Any] = {"maximum_tokens": 40, "width": 16, "layers": 1, "heads": 2, "dropout": 0.1}
OTHERS: dict[str, Any] = {"properties": ("length", "rings"), "batch_size": 8, "warmup_samples": 0, "ema_half_life_samples": 100}
# Two steps of the one phase, then the other.
GPT = PolyGPTConfig(**SIZES, **OTHERS, predictor_width=8, pretrain_samples=16, finetune_samples=400)
VAE = PolyVAEConfig(**SIZES, **OTHERS, property_width=8, latent=4, encoder_layers=1, free_nats=0.1, word_dropout=0.2, total_samples=400)
LDM = PolyLDMConfig(hidden_width=16, step_width=8, diffusion_steps=50, validation_steps=5, batch_size=8, unfreeze_at_samples=16, warmup_samples=0)
PREDICTOR = PredictorConfig(bits=64, members=2, **{**OTHERS, "width": 16, "total_samples": 400})


def polyldm(data, devices: Devices) -> PolyLDMTrainer:
    vae = PolyVAE(data.shape).eval().requires_grad_(False)
    posteriors = [LatentSet(*(torch.randn(40, width).to(devices.device) for width in (4, 4, 2))) for _ in range(2)]
    return PolyLDMTrainer(vae.to(devices.device), *posteriors, LDM, devices)


@pytest.fixture(scope="module")
def trainers(tmp_path_factory) -> dict[str, Callable[[], Any]]:
    folder = tmp_path_factory.mktemp("data")
    smiles = write_molecules(folder)
    (folder / TOKENIZER).mkdir()
    save_smiles_tokenizer(train_smiles_tokenizer(smiles, SmilesTokenizerConfig(vocabulary_size=None)), folder / TOKENIZER)
    gpt, vae = read_polygpt_data(folder, GPT, Reporter()), read_polyvae_data(folder, VAE, Reporter())
    labelled = [read_labelled(folder, PREDICTOR, split) for split in ("train", "valid")]
    return {
        "polygpt": lambda devices=CPU: PolyGPTTrainer(gpt, GPT, devices),
        "polyvae": lambda devices=CPU: PolyVAETrainer(vae, VAE, devices, Reporter()),
        "polyldm": lambda devices=CPU: polyldm(vae, devices),
        "predictor": lambda devices=CPU: PredictorTrainer(*labelled, PREDICTOR, devices),
    }


NAMES = ("polygpt", "polyvae", "polyldm", "predictor")


@pytest.mark.parametrize("name", NAMES)
def test_no_number_is_read_in_a_step(trainers, name):
    trainer = trainers[name]()
    trainer.step()
    for _ in range(3):
        with reads_counted() as reads:
            outcome = trainer.step()
        assert reads == [] and isinstance(outcome.skipped, torch.Tensor)
    assert all(tensor.isfinite() for tensor in outcome.values.values() if isinstance(tensor, torch.Tensor))


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_step_is_left_out_to_the_bit_and_the_next_is_taken(trainers, name):
    trainer = trainers[name]()
    trainer.step()
    trainer.step()
    before = [parameter.detach().clone() for parameter in trainer.parameters]
    moments = [value.clone() for state in trainer.optimizer.state.values() for value in state.values()]
    spoilt = trainer.parameters[-1].register_hook(lambda gradient: gradient * torch.nan)
    assert bool(trainer.step().skipped)
    assert all(map(torch.equal, trainer.parameters, before))
    # Moments of weights that had no gradient until then begin at zero.
    after = [value for state in trainer.optimizer.state.values() for value in state.values()]
    assert all(map(torch.equal, after[: len(moments)], moments)) and all(not value.any() for value in after[len(moments) :])
    spoilt.remove()
    assert not bool(trainer.step().skipped) and not all(map(torch.equal, trainer.parameters, before))


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_on_a_gpu_a_step_waits_for_nothing(trainers, name):
    trainer = trainers[name](Devices(torch.device("cuda", 0)))
    # Both phases, and a compiler that may still be at work.
    for _ in range(6):
        trainer.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        outcome = trainer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not bool(outcome.skipped)


def test_what_a_batch_counts_is_read_before_it_goes_to_the_device(trainers):
    batch = BatchStream(trainers["polygpt"]().valid, 4, 0, "valid", conditional=True).next(at_most=4)
    counts = batch.denominators()
    assert counts.tokens == int(batch.lengths.sum()) - 4
    moved = {name: getattr(batch, name).to("meta") for name in ("tokens", "properties_mask", "wanted_mask")}
    with pytest.raises(ValueError, match="found a tensor on meta"):
        replace(batch, **moved).denominators()
