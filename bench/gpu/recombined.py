"""Molecules like those that are there: one is cut at a bond by the rules of BRICS (Degen et al. 2008), and one half exchanged for another's.

The other half comes from a bond of the same two kinds of atoms and has as many heavy atoms, so that sizes stay as they are. Halves are dealt anew
within their kind, each once a round; what comes out is new, or is left out. None of it was ever made or bought: it is like real molecules, not real.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

import numpy
from rdkit import Chem
from rdkit.Chem import BRICS

HOW = "halves of real molecules of the training split exchanged at BRICS bonds, equal in bond and size, all properties within those of the real ones"
# Kind of the bond and heavy atoms of the second half; the halves as SMILES with an open bond.
Halves = tuple[tuple[str, str, int], str, str]


def halves(text: str) -> list[Halves]:
    """Of a SMILES, by every BRICS bond both ways round."""
    molecule = Chem.MolFromSmiles(text)
    found = list[Halves]()
    for (one, other), labels in BRICS.FindBRICSBonds(molecule) if molecule is not None else ():
        bond = molecule.GetBondBetweenAtoms(one, other).GetIdx()
        atoms: list[tuple[int, ...]] = []
        parts = Chem.GetMolFrags(Chem.FragmentOnBonds(molecule, [bond], dummyLabels=[(1, 1)]), asMols=True, fragsMolAtomMapping=atoms)
        if len(parts) == 2:
            first = int(one in atoms[1])
            for begin, kind in ((first, labels), (1 - first, labels[::-1])):
                left, right = parts[begin], parts[1 - begin]
                found.append(((*kind, right.GetNumHeavyAtoms()), Chem.MolToSmiles(left), Chem.MolToSmiles(right)))
    return found


def joined(pair: tuple[str, str]) -> str | None:
    """The SMILES of two halves at their open bonds; None where that is no molecule."""
    parts, options = [Chem.MolFromSmiles(text) for text in pair], Chem.MolzipParams()
    options.label = Chem.MolzipLabel.Isotope
    if None in parts:
        return None
    try:
        molecule = Chem.molzip(*parts, options)
        Chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError):
        return None
    return str(Chem.MolToSmiles(molecule))


def recombined(texts: Sequence[str], random: numpy.random.Generator, pool: Executor, *, rounds: int = 3) -> Iterator[str]:
    """New molecules in canonical SMILES, each once, none of `texts` (canonical too); the same from equal generators."""
    kinds = defaultdict[tuple[str, str, int], list[tuple[str, str]]](list)
    for found in pool.map(halves, texts, chunksize=500):
        for kind, left, right in found:
            kinds[kind].append((left, right))
    seen = set(texts)
    for _ in range(rounds):
        dealt = [(pairs[place][0], pairs[other][1]) for pairs in kinds.values() for place, other in enumerate(random.permutation(len(pairs)))]
        order = random.permutation(len(dealt))
        for text in pool.map(joined, [dealt[place] for place in order], chunksize=500):
            if text is not None and text not in seen:
                seen.add(text)
                yield text
