"""What a PolyVAE must be able to do before anything else: know a few molecules by heart, through a latent that it uses."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from stages.reporting import Reporter
from tests.training.polymers.toy_molecules import write_molecules
from training.loop.devices import Devices
from training.polymers.data import TOKENIZER
from training.polymers.smiles_tokenizer import SmilesTokenizerConfig, save_smiles_tokenizer, train_smiles_tokenizer
from training.polymers.vae.config import PolyVAEConfig
from training.polymers.vae.reconstruction import Reconstruction, reconstruct
from training.polymers.vae.train import read_data
from training.polymers.vae.trainer import PolyVAETrainer

TWIN = PolyVAEConfig(
    properties=("length",),
    maximum_tokens=40,
    width=48,
    property_width=16,
    latent=16,
    encoder_layers=1,
    layers=1,
    heads=4,
    dropout=0.0,
    total_samples=32 * 200,
    batch_size=32,
    learning_rate=5e-3,
    warmup_samples=640,
    kl_weight=0.02,
    kl_warmup_samples=32 * 200,
)
REAL = replace(
    TWIN,
    maximum_tokens=80,
    width=96,
    property_width=32,
    latent=32,
    layers=2,
    total_samples=256 * 150,
    learning_rate=2e-3,
    kl_warmup_samples=256 * 100,
)


def learned(data: Path, smiles: list[str], config: PolyVAEConfig) -> Reconstruction:
    """Train on the molecules below `data`, all of them `smiles`, and write them back."""
    (data / TOKENIZER).mkdir()
    save_smiles_tokenizer(train_smiles_tokenizer(smiles, SmilesTokenizerConfig(vocabulary_size=None)), data / TOKENIZER)
    read = read_data(data, config, Reporter())
    trainer = PolyVAETrainer(read, config, Devices(torch.device("cpu")), Reporter())
    while trainer.samples_seen < config.total_samples:
        assert not trainer.step().skipped
    return reconstruct(trainer.final_model(), read.tokenizer, read.train, 0)


def accuracy(found: Reconstruction) -> float:
    return float(found.right.sum() / found.tokens.sum())


def test_thirty_two_molecules_are_learned_by_heart_through_the_latent(tmp_path):
    smiles = write_molecules(tmp_path, number=32, splits=("train",))
    found = learned(tmp_path, smiles, TWIN)
    assert accuracy(found) >= 0.9 and found.active_units >= 4, (accuracy(found), found.active_units)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.shared_data
def test_256_molecules_of_zinc_are_learned_by_heart_with_a_quarter_of_the_units_active(tmp_path, shared_data):
    smiles = (shared_data / "molecules/zinc/zinc_valid_24k.smi").read_text().split()[:256]
    folder = tmp_path / "molecules"
    folder.mkdir()
    table = {"smiles": smiles, "split_random": ["train"] * 256, "length": pa.array([float(len(text)) for text in smiles], pa.float64())}
    pq.write_table(pa.table(table), folder / "molecules-00000.parquet")
    found = learned(tmp_path, smiles, REAL)
    print(f"token accuracy {accuracy(found):.4f}, exact, greedy {found.exact_greedy.double().mean():.3f}, active units {found.active_units} of 32")
    assert accuracy(found) >= 0.95 and found.active_units >= 8
