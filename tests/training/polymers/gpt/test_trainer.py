"""What the auxiliary heads know of molecules that the model has never seen."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

Chem = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")

from formats.descriptors import descriptors_named
from stages.reporting import Reporter
from tests.training.polymers.toy_molecules import enumerated_molecules
from training.loop.devices import Devices
from training.polymers.data import TOKENIZER
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.data import read_data
from training.polymers.gpt.trainer import PolyGPTTrainer
from training.polymers.smiles_tokenizer import SmilesTokenizerConfig, save_smiles_tokenizer, train_smiles_tokenizer

DESCRIPTORS = descriptors_named(("mol_wt", "mol_log_p", "tpsa"))
CONFIG = PolyGPTConfig(
    properties=tuple(descriptor.name for descriptor in DESCRIPTORS),
    maximum_tokens=40,
    width=32,
    layers=1,
    heads=2,
    dropout=0.0,
    predictor_width=16,
    pretrain_samples=6000,
    finetune_samples=2000,
    batch_size=16,
    learning_rate=5e-3,
    finetune_learning_rate=5e-3,
    warmup_samples=200,
    beta=1.0,
)


@pytest.fixture
def data(tmp_path):
    """400 molecules to learn from, 200 held out, with what RDKit says of them."""
    smiles = [smiles for smiles in enumerated_molecules(700) if Chem.MolFromSmiles(smiles)][:600]
    measured = {
        descriptor.name: pa.array([descriptor.measure(Chem.MolFromSmiles(text)) for text in smiles], pa.float64()) for descriptor in DESCRIPTORS
    }
    splits = {"split_random": ["valid" if row % 3 == 0 else "train" for row in range(len(smiles))]}
    (tmp_path / "molecules").mkdir()
    pq.write_table(pa.table({"smiles": smiles, **splits, **measured}), tmp_path / "molecules/molecules-00000.parquet")
    (tmp_path / TOKENIZER).mkdir()
    save_smiles_tokenizer(train_smiles_tokenizer(smiles, SmilesTokenizerConfig(vocabulary_size=None)), tmp_path / TOKENIZER)
    return read_data(tmp_path, CONFIG, Reporter())


def test_the_heads_tell_what_unseen_molecules_have(data):
    trainer = PolyGPTTrainer(data, CONFIG, Devices(torch.device("cpu")))
    before = trainer.validate()
    while trainer.samples_seen < CONFIG.total_samples:
        trainer.step()
    after = trainer.validate()
    for name in CONFIG.properties:
        assert before[f"validation_property_r2_{name}"] < 0.3 and after[f"validation_property_r2_{name}"] >= 0.8, (name, before, after)


def test_a_property_without_known_values_has_no_r2(data):
    data.valid.properties[:, 1] = float("nan")
    found = PolyGPTTrainer(data, CONFIG, Devices(torch.device("cpu"))).validate()
    assert {name for name in found if "property" in name} == {"validation_property_r2_mol_wt", "validation_property_r2_tpsa"}
