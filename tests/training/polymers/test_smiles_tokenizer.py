"""The vocabulary of SMILES: atoms stay whole, molecules come back, files are the same each time and need none of our code."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests import warm
from tests.training.polymers.toy_molecules import enumerated_molecules, write_molecules
from training.polymers.smiles import split_smiles
from training.polymers.smiles_tokenizer import (
    BOS,
    EOS,
    SPECIAL_TOKENS,
    UNK,
    SmilesTokenizerConfig,
    SmilesTokenizerError,
    count_unknown,
    load_smiles_tokenizer,
    main,
    readable_tokens,
    save_smiles_tokenizer,
    train_smiles_tokenizer,
)

MOLECULES = [*enumerated_molecules(400), "*CC(*)C%10CCCC%10Cl", "C[C@@H](Br)C=C", "F/C=C/F", "CC.[Na+].[Cl-]"]


def learned(**settings) -> Tokenizer:
    return train_smiles_tokenizer(MOLECULES, SmilesTokenizerConfig(**settings))


@pytest.mark.parametrize("size", [None, 64, 200])
def test_every_training_molecule_comes_back(size):
    tokenizer = learned(vocabulary_size=size)
    for smiles in MOLECULES:
        ids = tokenizer.encode(smiles).ids
        assert (ids[0], ids[-1]) == (BOS, EOS) and UNK not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == smiles


def test_the_vocabulary_has_the_size_asked_for_and_merges_shorten_the_text():
    atoms, merged = learned(vocabulary_size=None), learned(vocabulary_size=120)
    assert merged.get_vocab_size() == 120
    assert count_unknown(merged, MOLECULES)[0] < 0.7 * count_unknown(atoms, MOLECULES)[0]


def test_no_token_cuts_an_atom():
    tokenizer = learned(vocabulary_size=200)
    tokens = readable_tokens(tokenizer)
    for smiles in MOLECULES:
        pieces = [tokens[index] for index in tokenizer.encode(smiles, add_special_tokens=False).ids]
        # Splitting the pieces one by one gives the atoms of the whole only if no border lies inside an atom.
        assert [atom for piece in pieces for atom in split_smiles(piece)] == split_smiles(smiles)


@pytest.mark.parametrize("smiles", ["C[Fe]C", "C[ClH+]C", "C%55CC%55", "CIC", "[Xe]"])
def test_an_unseen_atom_is_one_unknown_token_not_a_chain_of_letters(smiles):
    tokenizer = learned(vocabulary_size=None)
    pieces = split_smiles(smiles)
    unseen = [atom for atom in pieces if atom not in {a for text in MOLECULES for a in split_smiles(text)}]
    ids = tokenizer.encode(smiles, add_special_tokens=False).ids
    assert len(ids) == len(pieces) and ids.count(UNK) == len(unseen) > 0


def test_chlorine_is_an_atom_outside_brackets_and_part_of_one_inside():
    tokens = readable_tokens(learned(vocabulary_size=None))
    assert {"Cl", "[Cl-]", "[nH]", "%10", "[C@@H]", "*", "/"} <= set(tokens)
    assert not {"[", "]", "l", "B", "%"} & set(tokens)


def test_rare_atoms_can_be_left_out_and_are_counted():
    tokenizer = learned(vocabulary_size=None, minimum_atom_count=3)
    assert "[Na+]" not in readable_tokens(tokenizer)
    _, unknown, changed = count_unknown(tokenizer, MOLECULES)
    assert unknown == 4 and changed == 0


def test_the_order_of_the_molecules_does_not_matter():
    assert train_smiles_tokenizer(MOLECULES[::-1], SmilesTokenizerConfig(vocabulary_size=150)).to_str() == learned(vocabulary_size=150).to_str()


def test_the_files_load_in_transformers_without_this_project(tmp_path):
    tokenizer = learned(vocabulary_size=150)
    save_smiles_tokenizer(tokenizer, tmp_path)
    program = (
        "import sys, json; from transformers import PreTrainedTokenizerFast as T; t = T.from_pretrained(sys.argv[1]); s = json.loads(sys.argv[2]);"
        "ids = t(s)['input_ids']; assert 'training' not in sys.modules;"
        "print(json.dumps([ids, t.batch_decode(ids, skip_special_tokens=True), t.pad_token_id, t.eos_token, t.mask_token]))"
    )
    run = warm.plain(program, tmp_path, json.dumps(MOLECULES[:50]), cwd=tmp_path)
    ids, decoded, pad, eos, mask = json.loads(run.stdout.splitlines()[-1])
    assert ids == [encoding.ids for encoding in tokenizer.encode_batch(MOLECULES[:50])]
    assert decoded == MOLECULES[:50]
    assert (pad, eos, mask) == (0, "<eos>", "<mask>")


def test_a_vocabulary_too_small_for_the_atoms_says_how_large_it_must_be():
    with pytest.raises(SmilesTokenizerError, match=r"vocabulary_size is 10, but the \d+ atoms .* need \d+"):
        learned(vocabulary_size=10)


def test_no_molecules_is_an_error():
    with pytest.raises(SmilesTokenizerError, match="training split is empty"):
        train_smiles_tokenizer([], SmilesTokenizerConfig())


@pytest.mark.parametrize("text", ["not json", "{}", json.dumps({"model": {}})])
def test_a_broken_tokenizer_file_is_named(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(SmilesTokenizerError, match=r"tokenizer.json"):
        load_smiles_tokenizer(tmp_path)


def test_a_foreign_tokenizer_is_refused(tmp_path):
    from tokenizers import models

    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(SmilesTokenizerError, match="not a SMILES tokenizer of ours"):
        load_smiles_tokenizer(tmp_path)


def stage(folder: Path, *more: str) -> int:
    params = folder / "params.yaml"
    params.write_text("smiles_tokenizer: {read: [molecules, polymers], vocabulary_size: 100}\n")
    return main(["--params", str(params), "--data", str(folder / "data"), *more])


def test_the_stage_learns_from_the_training_split_only_and_writes_the_same_bytes_twice(tmp_path):
    molecules = write_molecules(tmp_path / "data")
    write_molecules(tmp_path / "data", name="polymers", number=100)
    assert stage(tmp_path) == 0
    output = tmp_path / "data/smiles_tokenizer"
    first = {path.name: path.read_bytes() for path in output.iterdir()}
    assert sorted(first) == ["special_tokens_map.json", "summary.json", "tokenizer.json", "tokenizer_config.json"]
    assert stage(tmp_path) == 0
    assert {path.name: path.read_bytes() for path in output.iterdir()} == first
    summary = json.loads(first["summary.json"])
    assert summary["train"]["molecules"] == 180 + 60 and summary["train"]["with_unknown_tokens"] == 0
    assert summary["tokens"][:5] == list(SPECIAL_TOKENS.values())
    train = [smiles for row, smiles in enumerate(molecules) if row % 5 < 3]
    assert set(summary["tokens"][5:]) <= {piece for smiles in train for piece in substrings(smiles)}


def substrings(smiles: str) -> set[str]:
    return {smiles[start:end] for start in range(len(smiles)) for end in range(start + 1, len(smiles) + 1)}


def test_a_wrong_parameter_is_exit_2_and_a_missing_dataset_exit_1(tmp_path, capsys):
    assert stage(tmp_path, "--set", "vocabulary=3") == 2
    assert "did you mean 'vocabulary_size'" in capsys.readouterr().err
    assert stage(tmp_path) == 1
    assert "figment materialize molecules" in capsys.readouterr().err


@pytest.mark.shared_data
def test_zinc_comes_back(shared_data):
    molecules = (shared_data / "molecules/zinc/zinc_valid_24k.smi").read_text().split()[:5000]
    tokenizer = train_smiles_tokenizer(molecules, SmilesTokenizerConfig(vocabulary_size=500))
    assert count_unknown(tokenizer, molecules)[1:] == (0, 0)
