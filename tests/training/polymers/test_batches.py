"""Batches: what is left out and counted, every molecule once an epoch, and the place in the data as three numbers."""

import importlib.util
import itertools

import numpy
import pytest
import torch

from formats.molecule_tables import MoleculeTable
from tests.training.polymers.toy_molecules import enumerated_molecules
from training.polymers.batches import BatchStream, build_training_set, property_scale
from training.polymers.smiles_tokenizer import PAD, SmilesTokenizerConfig, train_smiles_tokenizer

MOLECULES = enumerated_molecules(100)
TOKENIZER = train_smiles_tokenizer(MOLECULES, SmilesTokenizerConfig(vocabulary_size=None))


def table(molecules: list[str], values: list[list[float]] | None = None) -> MoleculeTable:
    properties = numpy.array(values if values is not None else [[float(len(smiles)), 1.0] for smiles in molecules])
    return MoleculeTable(molecules, properties, ("length", "one"), {"length": "", "one": ""})


def encoded(molecules: list[str] = MOLECULES, **settings):
    return build_training_set([table(molecules)], TOKENIZER, **{"maximum_tokens": 64, "mean": numpy.zeros(2), "std": numpy.ones(2), **settings})


def stream(**settings) -> BatchStream:
    return BatchStream(encoded(), **{"batch_size": 8, "seed": 1, "phase": "finetune", **settings})


def test_molecules_with_unknown_atoms_or_too_long_are_set_aside_and_counted():
    data = encoded(["CCO", "C[Fe]C", "C" * 30, "CC=O"], maximum_tokens=20)
    assert len(data) == 2 and data.set_aside == {"out_of_vocabulary": 1, "too_long": 1}
    assert data.properties[:, 0].tolist() == [3.0, 4.0]


def test_nothing_usable_is_an_empty_set_not_a_crash():
    assert len(encoded(["[Fe]"])) == 0


def test_an_epoch_shows_every_molecule_once():
    batches = stream()
    shown = [batches.next(at_most=8) for _ in range(13)]
    texts = [TOKENIZER.decode(row, skip_special_tokens=True) for batch in shown for row in batch.tokens.tolist()]
    assert sorted(texts) == sorted(MOLECULES)
    assert (batches.epoch, batches.position) == (1, 0)


def test_batches_hold_molecules_of_similar_length():
    batches = [stream().next(at_most=8) for _ in range(1)] + [stream(seed=seed).next(at_most=8) for seed in range(12)]
    padding = numpy.mean([float((batch.tokens == PAD).float().mean()) for batch in batches])
    assert padding < 0.1


def test_another_epoch_another_salt_or_another_seed_is_another_order():
    def first(**place):
        return stream(**place).next(at_most=8).tokens.tolist()

    assert first() == first()
    assert len({str(first()), str(first(epoch=1)), str(first(salt=1)), str(first(seed=2))}) == 4


def test_a_stream_goes_on_where_its_state_says():
    one, other = stream(conditional=True, noise=0.1, condition_dropout=0.3), stream(conditional=True, noise=0.1, condition_dropout=0.3)
    for _ in range(17):
        one.next(at_most=8)
    other.load_state_dict(one.state_dict())
    for _ in range(20):
        a, b = one.next(at_most=8), other.next(at_most=8)
        assert torch.equal(a.tokens, b.tokens) and torch.equal(a.wanted, b.wanted) and torch.equal(a.wanted_mask, b.wanted_mask)


def test_the_last_batch_of_a_budget_is_cut():
    assert len(stream().next(at_most=3).tokens) == 3


def test_wanted_properties_are_true_ones_perturbed_by_the_noise():
    batches = stream(conditional=True, noise=0.25, batch_size=100)
    differences = torch.cat([(batch.wanted - batch.properties).flatten() for batch in (batches.next(at_most=100) for _ in range(20))])
    assert float(differences.std()) == pytest.approx(0.25, rel=0.05) and abs(float(differences.mean())) < 0.02


def test_some_molecules_are_shown_unasked_and_some_with_a_part_of_their_properties():
    batches = stream(conditional=True, condition_dropout=0.3, batch_size=100)
    masks = torch.cat([batches.next(at_most=100).wanted_mask for _ in range(40)]).float()
    shares = [float((masks == torch.tensor(pattern)).all(dim=-1).float().mean()) for pattern in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0])]
    # 0.3 without, 0.3 by two coins, the rest with both.
    assert shares == pytest.approx([0.375, 0.075, 0.075, 0.475], abs=0.03)
    assert not stream(conditional=False).next(at_most=8).wanted_mask.any()


def test_missing_values_are_masked_and_never_asked_for():
    data = build_training_set(
        [table(["CCO", "CCN"], [[1.0, float("nan")], [2.0, 5.0]])], TOKENIZER, maximum_tokens=64, mean=numpy.zeros(2), std=numpy.ones(2)
    )
    batch = BatchStream(data, 2, 0, "finetune", conditional=True).next(at_most=2)
    assert sorted(batch.properties_mask.tolist()) == [[True, False], [True, True]]
    assert torch.equal(batch.wanted_mask, batch.properties_mask)


def test_spellings_take_turns_and_the_canonical_one_is_among_them():
    molecules = ["CC(=O)NC", "CCO", "C1CC1C(=O)O"]
    data = encoded(molecules, spellings=3)
    per_molecule = numpy.diff(data.first_spelling)
    assert (per_molecule > 1).all()
    seen = [set(), set(), set()]
    for epoch in range(12):
        for row, spelling in enumerate(data.spelling_of(epoch)):
            seen[row].add(TOKENIZER.decode(data.tokens[data.starts[spelling] : data.starts[spelling + 1]].tolist(), skip_special_tokens=True))
    assert [len(texts) for texts in seen] == per_molecule.tolist()
    assert all(smiles in texts for smiles, texts in zip(molecules, seen, strict=True))


def test_the_scale_counts_present_values_only():
    mean, std = property_scale([table(["C", "C", "C"], [[1.0, float("nan")], [3.0, 4.0], [5.0, 4.0]])])
    assert mean.tolist() == [3.0, 4.0] and std.tolist() == pytest.approx([(8 / 3) ** 0.5, 1.0])


def test_drawn_molecules_keep_their_tokens_and_properties_and_are_of_every_length():
    data = encoded(spellings=2, seed=1) if importlib.util.find_spec("rdkit") else encoded()
    drawn = data.drawn(40, seed=5)
    texts = [TOKENIZER.decode(drawn.tokens[start:end].tolist()) for start, end in itertools.pairwise(drawn.starts)]
    assert len(set(texts)) == len(drawn) == 40 and set(texts) <= set(MOLECULES)
    assert drawn.properties[:, 0].tolist() == [float(len(text)) for text in texts]
    assert len({len(text) for text in texts}) > 5 and texts != MOLECULES[:40]
    assert len(data.drawn(1000, seed=5)) == 100 and len(encoded(["[Fe]"]).drawn(3, seed=5)) == 0
