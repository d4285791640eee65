"""Prompts and molecules in tokens: nothing is cut, nothing is lost, and plain files hold it all."""

import pytest
from transformers import AutoTokenizer

from tests.training.polymers.toy_molecules import enumerated_molecules
from training.polymers.smiles import split_smiles
from training.polymers.smiles_tokenizer import SmilesTokenizerConfig, train_smiles_tokenizer
from training.polymers.tao.prompts import PromptForm
from training.polymers.tao.tokenizer import atoms_of, build_tokenizer, encode

MOLECULES = enumerated_molecules(300)
PIECES = {"text": PromptForm().vocabulary(), "tokens": ["<mol_wt:-3>", "<mol_wt:264>"]}


@pytest.mark.parametrize("size", [None, 60])
def test_the_atoms_are_those_of_the_smiles_tokenizer_merged_or_not(size):
    made = train_smiles_tokenizer(MOLECULES, SmilesTokenizerConfig(vocabulary_size=size))
    assert set(atoms_of(made)) == {atom for smiles in MOLECULES for atom in split_smiles(smiles)}


@pytest.mark.parametrize("style", ["text", "tokens"])
def test_a_molecule_is_its_atoms_and_decodes_to_itself(style, tmp_path):
    atoms = sorted({atom for smiles in MOLECULES for atom in split_smiles(smiles)})
    tokenizer = build_tokenizer(atoms, PIECES[style])
    tokenizer.save_pretrained(tmp_path)
    for one in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        ids = encode(one, MOLECULES)
        assert [len(row) - 1 for row in ids] == [len(split_smiles(smiles)) for smiles in MOLECULES]
        assert one.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == MOLECULES
        assert {row[-1] for row in ids} == {one.eos_token_id}


def test_a_prompt_is_its_characters_or_its_wishes():
    text, tokens = (build_tokenizer(["C", "1", "-"], PIECES[style]) for style in ("text", "tokens"))
    assert text.convert_ids_to_tokens(encode(text, ["26,,-1"])[0]) == ["2", "6", ",", ",", "-", "1", "</s>"]
    assert tokens.convert_ids_to_tokens(encode(tokens, ["<mol_wt:264><mol_wt:-3>"])[0]) == ["<mol_wt:264>", "<mol_wt:-3>", "</s>"]
    assert encode(text, [""]) == [[text.eos_token_id]] and encode(text, []) == []


def test_an_atom_that_nobody_knows_is_one_unknown_token():
    tokenizer = build_tokenizer(["C", "Cl"], ())
    assert tokenizer.convert_ids_to_tokens(encode(tokenizer, ["C[Xe+2]ClBrC"])[0]) == ["C", "<unk>", "Cl", "<unk>", "C", "</s>"]
