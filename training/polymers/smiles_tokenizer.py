"""Learn the vocabulary of SMILES: byte-pair encoding whose smallest pieces are whole atoms.

    python -m training.polymers.smiles_tokenizer

Reads data/molecules and data/polymers (the training split only), writes data/smiles_tokenizer, which loads without this project:
`transformers.PreTrainedTokenizerFast.from_pretrained("data/smiles_tokenizer")`.

How merges are kept from cutting an atom: BPE merges characters, so each atom of more than one character (`[nH]`, `Cl`, `%12`) is first rewritten
as one private-use character by the normalizer of tokenizer.json, and the decoder writes it back. Bracket atoms that the training
split does not have all become one character outside the vocabulary, hence <unk>, never a chain of brackets and letters.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from formats.molecule_tables import MoleculeTableError, read_molecules
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from training.polymers.smiles import TOKENS_BEYOND_ONE_CHARACTER, split_smiles

if TYPE_CHECKING:
    from tokenizers import Tokenizer, decoders, normalizers

SPECIAL_TOKENS = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "mask_token": "<mask>"}
PAD, BOS, EOS, UNK, MASK = range(5)

# Basic Multilingual Plane, private use: 6,400 characters that no SMILES contains. The last one stands for "an atom nobody knows".
_FIRST_PRIVATE, _UNKNOWN_ATOM = 0xE000, "\uf8ff"


class SmilesTokenizerError(Exception):
    """No vocabulary can be learned from these molecules with these parameters, or a folder holds no SMILES tokenizer."""


@dataclass(frozen=True)
class SmilesTokenizerConfig:
    """read: datasets to learn from. vocabulary_size: tokens in all, with the 5 special ones; None = atoms only, no merges.

    minimum_atom_count: an atom or bond seen fewer times is out of vocabulary. maximum_token_atoms: longest merged token, in atoms.
    """

    read: tuple[Literal["molecules", "polymers"], ...] = ("molecules", "polymers")
    split_column: Literal["split_random", "split_scaffold"] = "split_random"
    vocabulary_size: int | None = 256
    minimum_atom_count: int = 1
    maximum_token_atoms: int = 8

    def __post_init__(self) -> None:
        if not self.read:
            raise ValueError("read is empty; name at least one of molecules, polymers")
        for name in ("minimum_atom_count", "maximum_token_atoms"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")


def train_smiles_tokenizer(molecules: Sequence[str], config: SmilesTokenizerConfig) -> "Tokenizer":
    """A tokenizer for SMILES learned from `molecules`; the same molecules in any order give the same tokenizer.

    Encoding adds <bos> and <eos>; decoding with skip_special_tokens gives the SMILES back. Raises SmilesTokenizerError.
    """
    counts = Counter(atom for smiles in molecules for atom in split_smiles(smiles))
    if not counts:
        raise SmilesTokenizerError("the training split is empty; no vocabulary can be learned. Check the splits of data/molecules and data/polymers")
    # The alphabet: one character for each atom or bond that is common enough, sorted, so that ids do not depend on the order of the molecules.
    atoms = sorted(atom for atom, count in counts.items() if count >= config.minimum_atom_count)
    characters = _characters_of(atoms)
    smallest = len(SPECIAL_TOKENS) + len(characters)
    size = config.vocabulary_size or smallest
    if size < smallest:
        raise SmilesTokenizerError(
            f"vocabulary_size is {size}, but the {len(characters)} atoms and bonds of the training split and {len(SPECIAL_TOKENS)} special tokens "
            f"need {smallest}; set at least that (null = exactly that), or raise minimum_atom_count"
        )
    from tokenizers import Tokenizer, models, processors, trainers

    # Byte-pair encoding (Sennrich et al. 2016, algorithm 1) over these characters; the normalizer and the decoder translate to and from SMILES.
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.normalizer = _to_characters(characters)
    tokenizer.decoder = _from_characters(characters)
    # Special tokens come first and in a fixed order: their ids are constants of this module.
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=list(characters.values()),
        limit_alphabet=len(characters),
        max_token_length=config.maximum_token_atoms,
        show_progress=False,
    )
    known = set(atoms)
    # Sorted and free of rare atoms: nothing but the counts may decide, and only `characters` may enter the alphabet.
    tokenizer.train_from_iterator((smiles for smiles in sorted(molecules) if known.issuperset(split_smiles(smiles))), trainer=trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=[("<bos>", BOS), ("<eos>", EOS)])
    return tokenizer


def load_smiles_tokenizer(folder: Path) -> "Tokenizer":
    """The tokenizer saved in `folder` (a stage's output or a model's folder). Raises SmilesTokenizerError."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise SmilesTokenizerError(f"{path}: no such file; expected the SMILES tokenizer: figment materialize smiles_tokenizer")
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # noqa: BLE001 (tokenizers raises bare Exception for whatever it cannot read)
        raise SmilesTokenizerError(f"{path}: not a readable tokenizer.json ({error}); make it again: figment materialize smiles_tokenizer") from None
    for index, token in enumerate(SPECIAL_TOKENS.values()):
        if tokenizer.token_to_id(token) != index:
            raise SmilesTokenizerError(
                f"{path}: {token} has id {tokenizer.token_to_id(token)}, expected {index}; this is not a SMILES tokenizer of ours"
            )
    return tokenizer


def save_smiles_tokenizer(tokenizer: "Tokenizer", folder: Path) -> None:
    """Write the three files that `PreTrainedTokenizerFast.from_pretrained(folder)` reads, with the same bytes each time."""
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **SPECIAL_TOKENS}
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "special_tokens_map.json", SPECIAL_TOKENS)


def readable_tokens(tokenizer: "Tokenizer") -> list[str]:
    """The tokens by id as SMILES text, where the vocabulary itself holds private-use characters."""
    special = list(SPECIAL_TOKENS.values())
    return [special[index] if index < len(special) else tokenizer.decode([index]) for index in range(tokenizer.get_vocab_size())]


def count_unknown(tokenizer: "Tokenizer", molecules: Sequence[str]) -> tuple[int, int, int]:
    """(tokens in all without <bos> and <eos>, molecules with an out-of-vocabulary token, molecules that do not decode to themselves)."""
    tokens = unknown = changed = 0
    for start in range(0, len(molecules), 10_000):
        chunk = molecules[start : start + 10_000]
        encoded = [encoding.ids for encoding in tokenizer.encode_batch(list(chunk))]
        decoded = tokenizer.decode_batch(encoded, skip_special_tokens=True)
        tokens += sum(len(ids) - 2 for ids in encoded)
        flags = [UNK in ids for ids in encoded]
        unknown += sum(flags)
        changed += sum(text != smiles for text, smiles, flag in zip(decoded, chunk, flags, strict=True) if not flag)
    return tokens, unknown, changed


def _characters_of(atoms: Iterable[str]) -> dict[str, str]:
    """One character for each atom: itself, or a private-use one where it has several."""
    atoms = list(atoms)
    long = [atom for atom in atoms if len(atom) > 1]
    if _FIRST_PRIVATE + len(long) > ord(_UNKNOWN_ATOM):
        raise SmilesTokenizerError(f"{len(long)} different bracket atoms, expected fewer than 6,400; raise minimum_atom_count")
    private = {atom: chr(_FIRST_PRIVATE + index) for index, atom in enumerate(long)}
    return {atom: private.get(atom, atom) for atom in atoms}


def _to_characters(characters: dict[str, str]) -> "normalizers.Normalizer":
    from tokenizers import Regex, normalizers

    # Known bracket atoms first, then all other brackets; only then is a Cl certain to be chlorine outside brackets.
    long = {atom: character for atom, character in characters.items() if len(atom) > 1}
    steps = [normalizers.Replace(atom, character) for atom, character in long.items() if atom.startswith("[")]
    steps.append(normalizers.Replace(Regex(r"\[[^\]]+\]"), _UNKNOWN_ATOM))
    steps += [normalizers.Replace(atom, character) for atom, character in long.items() if not atom.startswith("[")]
    steps.append(normalizers.Replace(Regex(r"Br|Cl|%\d\d"), _UNKNOWN_ATOM))
    return normalizers.Sequence(steps)


def _from_characters(characters: dict[str, str]) -> "decoders.Decoder":
    from tokenizers import decoders

    long = {atom: character for atom, character in characters.items() if TOKENS_BEYOND_ONE_CHARACTER.fullmatch(atom)}
    return decoders.Sequence([decoders.Fuse(), *(decoders.Replace(character, atom) for atom, character in long.items())])


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _summary(tokenizer: "Tokenizer", config: SmilesTokenizerConfig, by_split: dict[str, list[str]]) -> dict[str, Any]:
    summary: dict[str, Any] = {"vocabulary_size": tokenizer.get_vocab_size(), "read": list(config.read)}
    for split, molecules in by_split.items():
        tokens, unknown, changed = count_unknown(tokenizer, molecules)
        if split == "train" and changed:
            raise SmilesTokenizerError(
                f"{changed} of {len(molecules)} training molecules do not decode to themselves; this is a defect, please report it"
            )
        summary[split] = {"molecules": len(molecules), "with_unknown_tokens": unknown, "not_restored": changed}
        summary[split]["tokens_per_molecule"] = round(tokens / len(molecules), 3) if molecules else None
    atoms = sum(len(split_smiles(smiles)) for smiles in by_split["train"])
    summary["train"]["atoms_and_bonds_per_molecule"] = round(atoms / len(by_split["train"]), 3)
    summary["tokens"] = readable_tokens(tokenizer)
    return summary


def _run(arguments: Any, reporter: Reporter) -> None:
    config = load_params(arguments.params, "smiles_tokenizer", SmilesTokenizerConfig, overrides=arguments.overrides)
    by_split = {
        split: [
            smiles for name in config.read for smiles in read_molecules(arguments.data / name, split=split, split_column=config.split_column).smiles
        ]
        for split in ("train", "valid", "test")
    }
    reporter.log(f"smiles_tokenizer: learning from {len(by_split['train']):,} molecules of {' and '.join(config.read)}")
    tokenizer = train_smiles_tokenizer(by_split["train"], config)
    summary = _summary(tokenizer, config, by_split)
    with OutputFolder(arguments.data / "smiles_tokenizer") as output:
        save_smiles_tokenizer(tokenizer, output.folder)
        output.write_json("summary.json", summary)
    facts = {f"{split}_with_unknown_tokens": summary[split]["with_unknown_tokens"] for split in by_split}
    reporter.metadata(vocabulary_size=summary["vocabulary_size"], tokens_per_molecule=summary["train"]["tokens_per_molecule"], **facts)
    reporter.log(
        f"smiles_tokenizer: {summary['vocabulary_size']} tokens, {summary['train']['tokens_per_molecule']} per molecule; out of vocabulary: {facts}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    return program(__doc__, _run, argv, expected=(SmilesTokenizerError, MoleculeTableError))


if __name__ == "__main__":
    sys.exit(main())
