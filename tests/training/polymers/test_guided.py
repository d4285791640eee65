"""The guide forbids nothing real, what ends under it is a molecule, and it remembers nothing that changes what is written."""

import csv
import functools
from pathlib import Path

import numpy
import pytest
import rdkit
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase

from formats.polymer_smiles import repeat_unit_problem
from tests.training.polymers.gpt.test_networks import SHAPE
from tests.training.polymers.toy_molecules import enumerated_molecules
from training.fine_tuning.generation import Generation, write
from training.polymers.conditions import MoleculeModelError
from training.polymers.decoding import SamplingSettings, choose_token, sample_molecules
from training.polymers.gpt import PolyGPT
from training.polymers.gpt.sample import PolyGPTWriter
from training.polymers.guided import Guide, GuidedLogits, _guide
from training.polymers.smiles import split_smiles
from training.polymers.smiles_grammar import advance, beginning, fewest_to_end, may_end, read_piece
from training.polymers.smiles_tokenizer import PAD, SmilesTokenizerConfig, train_smiles_tokenizer

NCI = Path(rdkit.__file__).parent / "Data/NCI/first_5K.smi"
SHARED = Path(__file__).resolve().parents[4] / "shared/data"
POLYMERS, ZINC = SHARED / "polymers/open_polymer_2025.csv", SHARED / "molecules/zinc/zinc_valid_24k.smi"
CHAINS = [*"#()-/123=BCFINOPS\\*", "Br", "Cl", "[C@@H]", "[C@H]", "[N+]", "[O-]"]
VOCABULARY = [*CHAINS, "[nH]", "c", "n", "o", "s"]
AROMATIC = "b c n o p s [nH] [n+] [n-] [nH+] [c-] [cH-] [cH+] [o+] [oH+] [s+] [se] [te] [si] [siH] [as] [sH] [bH]".split()  # noqa: SIM905
END = 2


def guide(vocabulary, rule="molecule"):
    return Guide([None] * 5 + list(vocabulary), END, rule)


def walk(of, vocabulary, rng, room):
    """A text of random allowed tokens; None where it was at a loss before its end."""
    state, text = of.begin(), ""
    for left in range(room, 0, -1):
        tokens = numpy.flatnonzero(of.allowed([state], left)[0])
        if not len(tokens):
            return None
        token = int(rng.choice(tokens))
        if token == END:
            return text
        text += [*[""] * 5, *vocabulary][token]
        state = of.follow(state, token)
    raise AssertionError(f"{text} had no room to end")


def rejected(smiles, rule):
    """Why the guide would not let a text be written in just the room it takes, or None."""
    state, pieces = beginning(rule), split_smiles(smiles)
    for index, text in enumerate(pieces):
        piece = read_piece(text, rule)
        behind = piece and advance(state, piece)
        fewest = None if behind is None else fewest_to_end(behind)
        if fewest is None or fewest > len(pieces) - index:
            return f"{smiles}: {text} at {index}, {fewest}"
        state = behind
    return None if may_end(state) else f"{smiles}: may not end"


def spellings(smiles):
    molecule = Chem.MolFromSmiles(smiles)
    return [Chem.MolToSmiles(molecule), *Chem.MolToRandomSmilesVect(molecule, 1, randomSeed=7)]


def texts_of(file, step):
    if file == POLYMERS:
        with file.open() as lines:
            return [row["SMILES"] for row in list(csv.DictReader(lines))[::step]]
    return [line.split()[0] for line in file.read_text().splitlines()[::step]]


REAL = [(NCI, "molecule", 20, 450), (ZINC, "molecule", 150, 300), (POLYMERS, "polymer", 120, 100)]


@pytest.mark.parametrize(("file", "rule", "step", "least"), REAL)
def test_real_molecules_may_be_written_in_every_spelling(file, rule, step, least):
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    with rdBase.BlockLogs():
        molecules = [(smiles, Chem.MolFromSmiles(smiles)) for smiles in texts_of(file, step)]
    wanted = [smiles for smiles, molecule in molecules if molecule and not (rule == "polymer" and repeat_unit_problem(molecule))]
    texts = [text for smiles in wanted for text in spellings(smiles)]
    problems = [problem for text in texts if (problem := rejected(text, rule))]
    assert len(texts) > least and len(problems) <= len(texts) // 1000, problems


@pytest.mark.parametrize("rule", ["molecule", "polymer"])
def test_random_texts_without_aromatic_atoms_are_molecules(rule):
    of, rng = guide(CHAINS, rule), numpy.random.default_rng(0)
    texts = [text for _ in range(60) if (text := walk(of, CHAINS, rng, 24)) is not None]
    assert len(texts) > 20
    for text in texts:
        molecule = Chem.MolFromSmiles(text)
        assert molecule is not None, text
        assert rule == "molecule" or not repeat_unit_problem(molecule), text


def test_random_texts_with_aromatic_atoms_can_be_read_and_are_nearly_all_molecules():
    of, rng = guide(VOCABULARY), numpy.random.default_rng(0)
    texts = [text for _ in range(200) if (text := walk(of, VOCABULARY, rng, 24)) is not None]
    assert len(texts) > 80 and sum("c" in text for text in texts) > 10
    assert all(Chem.MolFromSmiles(text, sanitize=False) is not None for text in texts)
    with rdBase.BlockLogs():
        wrong = [text for text in texts if Chem.MolFromSmiles(text) is None]
    assert len(wrong) <= 0.03 * len(texts), wrong


@pytest.mark.parametrize("atom", AROMATIC)
def test_aromatic_atoms_have_double_bonds_where_rdkit_gives_them_one(atom):
    for size in (2, 4, 5, 6):
        for neighbour in ("", "(C)", "(=O)", "(O)"):
            text = f"{atom}1{neighbour}{'c' * size}1"
            with rdBase.BlockLogs():
                is_molecule = Chem.MolFromSmiles(text) is not None
            # An atom with four single bonds is not written as an aromatic one, nor a nitrogen with five bonds.
            unusual = text.startswith(("[nH+]1(", "[siH]1(", "n1(=O)"))
            is_allowed = rejected(text, "molecule") is None
            assert is_allowed == is_molecule or (unusual and not is_allowed), text


@pytest.mark.parametrize(
    "smiles", ["c1ccc2c(c1)c1ccccc12", "O=c1cccc1", "c1(cccc2)c2cccc1", "C1=c2ccccc2=CC=C1", "Cn1c(=O)c2[nH]cnc2n(C)c1=O", "C%12CC%12.[Na+]"]
)
def test_what_is_a_molecule_may_be_written(smiles):
    assert Chem.MolFromSmiles(smiles) and rejected(smiles, "molecule") is None


WRONG = "C) C( C(C C= =C C1CC C11 C1C1 C12CC12 FC(F)(F)(F)F O=C=C=O=C c Cc C((C)) [Zz] c1cccc1 c1ccccc1c c1cccc1c1cccc1 n1cccc1 c1ccccc1(C)C C1CF"


@pytest.mark.parametrize("smiles", ["", *WRONG.split()])
def test_what_is_no_molecule_may_not_be_written(smiles):
    assert rejected(smiles, "molecule")


@pytest.mark.parametrize("smiles", ["C", "*C", "*C*C", "*C(*)*", "**", "*", "*C.C*"])
def test_what_is_no_repeat_unit_may_not_be_written(smiles):
    assert rejected(smiles, "polymer")
    assert rejected("*CC*", "polymer") is None


def test_the_last_tokens_close_what_is_open():
    of = guide(VOCABULARY)
    state = functools.reduce(of.follow, (5 + VOCABULARY.index(text) for text in ("C", "1", "C", "C", "(")), of.begin())
    # An atom, the ring's digit, the parenthesis, the end.
    allowed = of.allowed([state], 4)[0]
    assert {[*["special"] * 5, *VOCABULARY][token] for token in numpy.flatnonzero(allowed)} >= {"C", "N", "O"}
    assert not allowed[5 + VOCABULARY.index("=")] and not allowed[END]


def test_most_bonds_are_those_of_rdkit():
    with rdBase.BlockLogs():
        for element in ("B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Sn", "Sb", "Te", "I", "Al"):
            for charge in ("", "+", "-", "+2", "-2"):
                for hydrogens in range(1, 9):
                    text = f"[{element}H{hydrogens}{charge}]"
                    assert (read_piece(text, "molecule") is not None) == (Chem.MolFromSmiles(text) is not None), text


@functools.cache
def writer():
    torch.manual_seed(0)
    model = PolyGPT(SHAPE).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return PolyGPTWriter(model, train_smiles_tokenizer(enumerated_molecules(50), SmilesTokenizerConfig(vocabulary_size=30)))


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 20), st.integers(0, 3), st.booleans(), st.integers(1, 12))
def test_a_seed_gives_the_same_molecules_whatever_the_batch_and_what_was_written_before(batch, seed, forgets, fewer):
    """And plain ones are not moved by guided ones in between."""
    wanted = [{}] * 12
    plain = list(sample_molecules(writer(), wanted, SamplingSettings(batch_size=12, seed=seed)))
    once = list(sample_molecules(writer(), wanted, SamplingSettings(batch_size=12, seed=seed, guided=True)))
    if forgets:
        _guide.cache_clear()
    list(sample_molecules(writer(), wanted[:3], SamplingSettings(seed=seed + 10, guided=True)))
    again = list(sample_molecules(writer(), wanted[:fewer], SamplingSettings(batch_size=batch, seed=seed, guided=True)))
    assert again == once[:fewer] and once != plain
    assert plain == list(sample_molecules(writer(), wanted, SamplingSettings(batch_size=batch, seed=seed)))
    assert all(Chem.MolFromSmiles(molecule.smiles, sanitize=False) is not None for molecule in once if molecule.finished)


def test_a_mask_leaves_the_choice_among_what_is_allowed_and_a_text_at_a_loss_is_padded():
    logits, out = torch.tensor([[0.0] * 5 + [9.0, 1.0, 0.0]] * 2), torch.tensor([[0.0] * 6 + [1.0] * 2, [0.0] * 8]) == 0

    def process(scores):
        left = scores.masked_fill(out, -torch.inf)
        left[1, PAD] = 0.0
        return left

    for temperature in (0.0, 1.0):
        assert choose_token(logits, torch.tensor([0.3, 0.3]), SamplingSettings(temperature, top_p=0.5), process).tolist() == [6, PAD]


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

    def written(room):
        processors = [GuidedLogits(guide(CHAINS), begin=1, room=room)]
        return [row[0] for row in write(model, Words(), inputs, Generation("sample", max_new_tokens=room), seed=0, processors=processors)]

    ended = [text for text in written(20) if text.ended]
    assert len(ended) > 10 and all(Chem.MolFromSmiles(text.text) for text in ended)
    plain = [row[0] for row in write(model, Words(), inputs, Generation("sample", max_new_tokens=20), seed=0)]
    assert any(Chem.MolFromSmiles(text.text) is None for text in plain)
    # In a room for nothing but the end, every text is at a loss from the start.
    assert not any(text.ended or text.text for text in written(1))
