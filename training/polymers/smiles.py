"""SMILES as text: the atoms and bonds that must never be cut, and other spellings of one molecule.

Splitting is plain Python. Only re-spelling needs rdkit, which is imported when asked for: a training machine without it can still train.
"""

import itertools
import re
from collections.abc import Sequence
from typing import Any

from stages.derived_seed import derive_seed

# A bracket atom, a two-letter organic atom, a two-digit ring closure, or one character.
ATOM_PATTERN = re.compile(r"\[[^\]]+\]|Br|Cl|%\d\d|.", re.DOTALL)
TOKENS_BEYOND_ONE_CHARACTER = re.compile(r"\[[^\]]+\]|Br|Cl|%\d\d")


class SpellingError(Exception):
    """Other spellings of molecules were asked for where rdkit is not installed."""


def split_smiles(smiles: str) -> list[str]:
    """The smallest meaningful pieces of `smiles`, in order; joined, they give `smiles` again."""
    return ATOM_PATTERN.findall(smiles)


def random_spellings(smiles: str, *, count: int, seed: int) -> list[str]:
    """Up to `count` different random spellings of the molecule, none equal to `smiles`; fewer where the molecule has fewer.

    A repeat unit is shown in all its frames in turn: where its chain is cut is no more than a way to write the polymer.
    The same arguments give the same list. An unreadable SMILES gives []. Source: Bjerrum 2017, "SMILES Enumeration as Data Augmentation".
    """
    chem = _rdkit_chem()
    molecule = chem.MolFromSmiles(smiles)
    if molecule is None or count < 1:
        return []
    from formats.polymer_smiles import frames, repeat_unit_problem

    shown = [molecule] if repeat_unit_problem(molecule) else [chem.MolFromSmiles(frame) for frame in frames(molecule)]
    of_each, randomness = -(-count // len(shown)), derive_seed(seed, smiles) % (2**31 - 1) + 1
    spelled = zip(*(chem.MolToRandomSmilesVect(frame, of_each, randomSeed=randomness) for frame in shown), strict=True)
    return [spelling for spelling in dict.fromkeys(itertools.chain.from_iterable(spelled)) if spelling != smiles][:count]


def spell_all(molecules: Sequence[str], *, count: int, seed: int, processes: int = 1) -> list[list[str]]:
    """`random_spellings` of each molecule, in order, on `processes` processes; the result does not depend on how many."""
    if processes <= 1 or len(molecules) < 2_000:
        return [random_spellings(smiles, count=count, seed=seed) for smiles in molecules]
    import functools
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return pool.map(functools.partial(random_spellings, count=count, seed=seed), molecules, chunksize=500)


def _rdkit_chem() -> Any:
    try:
        from rdkit import Chem, RDLogger
    except ImportError:
        raise SpellingError(
            "other spellings of molecules need rdkit, which is not installed here; install figment[chem], or set spellings_per_molecule: 0"
        ) from None
    RDLogger.DisableLog("rdApp.*")
    return Chem
