"""Make repeat units (SMILES with two `*`) out of ordinary molecules, so that everything about polymers can be run without a polymer dataset.

They are chemically valid, and statistically nothing like real polymers: good for trying the whole graph, useless for science.
"""

import random
from collections.abc import Iterable, Iterator

from rdkit import Chem, rdBase

# After this many units of one molecule, the next are mostly repeats.
_MOST_PER_MOLECULE = 8
_MOST_HEAVY_ATOMS = 40


def make_repeat_units(molecules: Iterable[tuple[str, str]], *, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Up to `count` different (repeat unit, id of its molecule), from (SMILES, id) pairs: two hydrogens of a molecule replaced by `*`.

    Every molecule gives one unit before any gives its second. The same arguments give the same units in the same order.
    """
    # Parents by canonical SMILES, so that a molecule which is listed twice gives its units once.
    parents: dict[str, str] = {}
    with rdBase.BlockLogs():
        for smiles, name in molecules:
            if (parent := _suitable(smiles)) is not None:
                parents.setdefault(parent, name)
    seen: set[str] = set()
    # A generator for each parent and round: one parent more or less changes the draw of no other.
    for round_number in range(_MOST_PER_MOLECULE):
        for parent, name in parents.items():
            if len(seen) >= count:
                return
            with rdBase.BlockLogs():
                unit = _replace_two_hydrogens(Chem.MolFromSmiles(parent), random.Random(f"{seed}:{round_number}:{parent}"))
            if unit is not None and unit not in seen:
                seen.add(unit)
                yield unit, name


def _suitable(smiles: str) -> str | None:
    """The canonical SMILES of one neutral fragment with two hydrogens to give away, else None."""
    molecule = Chem.MolFromSmiles(smiles) if "." not in smiles else None
    if molecule is None or not 2 <= molecule.GetNumHeavyAtoms() <= _MOST_HEAVY_ATOMS or Chem.GetFormalCharge(molecule) != 0:
        return None
    return Chem.MolToSmiles(molecule) if len(_places(molecule)) >= 2 else None


def _places(molecule: Chem.Mol) -> list[int]:
    """The index of each heavy atom, once for each of its hydrogens; metals and `*` excluded."""
    return [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetAtomicNum() in {6, 7, 8, 14, 16} for _ in range(atom.GetTotalNumHs())]


def _replace_two_hydrogens(parent: Chem.Mol, generator: random.Random) -> str | None:
    unit = Chem.RWMol(parent)
    for place in generator.sample(_places(parent), 2):
        atom = unit.GetAtomWithIdx(place)
        if atom.GetNumExplicitHs():
            atom.SetNumExplicitHs(atom.GetNumExplicitHs() - 1)  # `[nH]`: its hydrogen is written out, so it does not go away by itself.
        unit.AddBond(place, unit.AddAtom(Chem.Atom(0)), Chem.BondType.SINGLE)
    try:
        Chem.SanitizeMol(unit)
    except ValueError:
        return None
    return Chem.MolToSmiles(unit)
