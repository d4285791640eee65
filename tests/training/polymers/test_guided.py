"""The guide forbids nothing real, and what ends under it can be read."""

import csv
from pathlib import Path

import numpy
import pytest
import rdkit
import torch
from rdkit import Chem, rdBase

from formats.polymer_smiles import repeat_unit_problem
from training.fine_tuning.generation import Generation, write
from training.polymers.conditions import MoleculeModelError
from training.polymers.decoding import SamplingSettings, choose_token
from training.polymers.guided import Guide, GuidedLogits
from training.polymers.smiles import split_smiles
from training.polymers.smiles_grammar import BEGINNING, advance, may_end, read_piece, tokens_to_end

NCI = Path(rdkit.__file__).parent / "Data/NCI/first_5K.smi"
POLYMERS = Path(__file__).resolve().parents[4] / "shared/data/polymers/open_polymer_2025.csv"
VOCABULARY = [
    "#",
    "(",
    ")",
    "-",
    "/",
    "1",
    "2",
    "3",
    "=",
    "B",
    "Br",
    "C",
    "Cl",
    "F",
    "I",
    "N",
    "O",
    "P",
    "S",
    "[C@@H]",
    "[C@H]",
    "[N+]",
    "[O-]",
    "[nH]",
    "\\",
    "c",
    "n",
    "o",
    "s",
    "*",
]
END = 2
# Bonds of aromatic atoms cannot be dealt out in advance; without such atoms, valences are exact.
CHAINS = [text for text in VOCABULARY if text.strip("[]").isupper() or not text.strip("[]H")[:1].islower()]


def guide(vocabulary, rule="molecule"):
    return Guide([None] * 5 + list(vocabulary), END, rule)


def walk(of, vocabulary, rng, room):
    """A text of random allowed tokens, and whether it ended."""
    place, text = of.begin(), ""
    for left in range(room, 0, -1):
        tokens = numpy.flatnonzero(of.allowed([place], left)[0])
        assert len(tokens), text
        token = int(rng.choice(tokens))
        if token == END:
            return text
        text += [*[""] * 5, *vocabulary][token]
        place = of.follow(place, token)
    raise AssertionError(f"{text} did not end")


def rejected(smiles, rule):
    """Why the grammar does not take a text, or None."""
    state = BEGINNING
    for index, text in enumerate(split_smiles(smiles)):
        piece = read_piece(text, rule)
        behind = piece and advance(state, piece, rule)
        if behind is None or tokens_to_end(behind, rule) is None:
            return f"{smiles}: {text} at {index}"
        state = behind
    return None if may_end(state, rule) else f"{smiles}: may not end"


def spellings(smiles):
    molecule = Chem.MolFromSmiles(smiles)
    return [Chem.MolToSmiles(molecule), Chem.MolToSmiles(molecule, doRandom=True)]


def test_real_molecules_may_be_written_in_every_spelling():
    with rdBase.BlockLogs():
        rows = [line.split()[0] for line in NCI.read_text().splitlines()[::10]]
        texts = [text for smiles in rows if Chem.MolFromSmiles(smiles) for text in spellings(smiles)]
    problems = [problem for text in texts if (problem := rejected(text, "molecule"))]
    assert len(texts) > 900 and len(problems) <= len(texts) // 1000, problems


@pytest.mark.skipif(not POLYMERS.is_file(), reason="the Open Polymer data are not here")
def test_real_polymers_may_be_written_in_every_spelling():
    with POLYMERS.open() as file:
        molecules = [Chem.MolFromSmiles(row["SMILES"]) for row in list(csv.DictReader(file))[::80]]
    texts = [text for molecule in molecules if not repeat_unit_problem(molecule) for text in spellings(Chem.MolToSmiles(molecule))]
    problems = [problem for text in texts if (problem := rejected(text, "polymer"))]
    assert len(texts) > 180 and len(problems) <= len(texts) // 1000, problems


@pytest.mark.parametrize("rule", ["molecule", "polymer"])
def test_random_texts_without_aromatic_atoms_are_molecules(rule):
    of = guide(CHAINS, rule)
    rng = numpy.random.default_rng(0)
    for _ in range(40):
        molecule = Chem.MolFromSmiles(text := walk(of, CHAINS, rng, 24))
        assert molecule is not None, text
        assert rule == "molecule" or not repeat_unit_problem(molecule), text


@pytest.mark.parametrize(
    "smiles", ["C)", "C(", "C(C", "C=", "=C", "C1CC", "C11", "C1C1", "FC(F)(F)(F)F", "O=C=C=O=C", "c", "Cc", "", "C((C))", "[Zz]"]
)
def test_what_is_no_molecule_may_not_be_written(smiles):
    assert rejected(smiles, "molecule")


@pytest.mark.parametrize("smiles", ["C", "*C", "*C*C", "*C(*)*", "**", "*", "*C.C*"])
def test_what_is_no_repeat_unit_may_not_be_written(smiles):
    assert rejected(smiles, "polymer")
    assert rejected("*CC*", "polymer") is None


def test_the_last_tokens_close_what_is_open():
    of = guide(VOCABULARY)
    place = of.begin()
    for text in ("C", "1", "C", "C", "("):
        place = of.follow(place, 5 + VOCABULARY.index(text))
    # An atom, the ring's digit, the parenthesis, the end.
    allowed = of.allowed([place], 4)[0]
    assert {[*["special"] * 5, *VOCABULARY][token] for token in numpy.flatnonzero(allowed)} >= {"C", "N", "O"}
    assert not allowed[5 + VOCABULARY.index("F")] and not allowed[5 + VOCABULARY.index("=")] and not allowed[END]


def test_most_bonds_are_those_of_rdkit():
    with rdBase.BlockLogs():
        for element in ("B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Sn", "Sb", "Te", "I", "Al"):
            for charge in ("", "+", "-", "+2", "-2"):
                for hydrogens in range(1, 9):
                    text = f"[{element}H{hydrogens}{charge}]"
                    assert (read_piece(text, "molecule") is not None) == (Chem.MolFromSmiles(text) is not None), text


def test_a_mask_leaves_the_choice_among_what_is_allowed():
    logits, allowed = torch.tensor([[0.0] * 5 + [9.0, 1.0, 0.0]]), torch.tensor([[False] * 6 + [True] * 2])
    for temperature in (0.0, 1.0):
        settings = SamplingSettings(temperature, top_p=0.5)
        assert choose_token(logits, torch.tensor([0.3]), settings, allowed).tolist() == [6]


def test_a_vocabulary_that_cannot_end_texts_is_refused():
    with pytest.raises(MoleculeModelError, match=r"has no token \*; guided decoding like polymers needs"):
        guide(["C", "(", ")"], "polymer")


def test_transformers_write_what_is_allowed():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=32, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=END))

    class Words:
        eos_token_id, pad_token_id, bos_token_id = END, 0, 1

        def decode(self, ids, **_):
            return "".join([*[""] * 5, *CHAINS, *[""] * 40][token] for token in ids)

    inputs = {name: torch.ones(20, 1, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    settings = Generation("sample", max_new_tokens=20)
    processors = [GuidedLogits(guide(CHAINS), begin=1, room=20)]
    guided = [row[0] for row in write(model, Words(), inputs, settings, seed=0, processors=processors)]
    assert all(text.ended and Chem.MolFromSmiles(text.text) for text in guided)
    plain = [row[0] for row in write(model, Words(), inputs, settings, seed=0)]
    assert any(Chem.MolFromSmiles(text.text) is None for text in plain)
