"""Which piece of a SMILES may follow the ones before it, so that the text can still become a molecule: a state machine, in plain Python.

A state remembers no more than what later pieces depend on: the atoms that can still gain bonds (the last one, those at open branches, those with open
rings), what they have left, and how they are joined. So few states stand for many texts. Valences are RDKit's. What an aromatic system needs cannot
be told piece by piece; kept is what every one has: an aromatic atom has two aromatic bonds, inside a ring, and carbon keeps a valence for its double
bond. Whether double bonds can be dealt out in the end is not known, so some texts that end well are still no molecules.
Sources: Weininger 1988; OpenSMILES 1.0; the masks of GrammarVAE (Kusner et al. 2017), of which this one also counts valences.
"""

import re
from typing import Literal, NamedTuple

Rule = Literal["molecule", "polymer"]

# What a text ends in: nothing yet, an atom or its ring digits, `(`, `)`, a bond right behind an atom, a bond behind a parenthesis.
START, ATOM, OPEN, CLOSE, BOND_BEHIND_ATOM, BOND = range(6)
# An aromatic carbon keeps one valence back for its double bond. A star of a polymer has one bond.
PLAIN, AROMATIC, AROMATIC_WITH_DOUBLE, STAR = range(4)

IMPLICIT, AROMATIC_BOND = 0, 5
# A bond with a direction is aromatic between aromatic atoms, as one that is not written.
_BONDS = {"-": 1, "/": IMPLICIT, "\\": IMPLICIT, "=": 2, "#": 3, ":": AROMATIC_BOND}
_UNBOUNDED = 20
# The most bonds and hydrogens that RDKit grants at charges -2 to 2; elements that are not here have no bound in RDKit, or none that matters.
_MOST = {
    "H": (8, 2, 1, 8, 8),
    "B": (3, 4, 3, 2, 8),
    "C": (2, 3, 4, 3, 2),
    "N": (1, 2, 3, 4, 3),
    "O": (0, 1, 2, 3, 4),
    "F": (8, 0, 1, 2, 3),
    "Al": (5, 4, 3, 8, 8),
    "Si": (6, 5, 4, 3, 8),
    "P": (3, 6, 5, 4, 3),
    "S": (4, 5, 6, 5, 4),
    "Cl": (8, 0, 1, 6, 5),
    "Ge": (6, 5, 4, 3, 8),
    "As": (3, 6, 5, 4, 3),
    "Se": (4, 5, 6, 5, 4),
    "Br": (8, 0, 1, 6, 5),
    "Sn": (6, 5, 4, 3, 8),
    "Sb": (5, 6, 5, 4, 3),
    "Te": (6, 5, 6, 5, 4),
    "I": (1, 6, 5, 6, 5),
}
_BRACKET = re.compile(r"\[\d*(\*|[A-Z][a-z]?|[a-z][a-z]?)(?:@(?:@|TH\d|AL\d|SP\d|TB\d+|OH\d+)?)?(H\d*)?([+-]\d+|\++|-+)?(?::\d+)?\]")
_ORGANIC = frozenset(["B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I", "b", "c", "n", "o", "p", "s", "*"])
_ELEMENTS = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe
Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U b c n o p s se te as si
"""
_RING = re.compile(r"%?\d+")


class Atom(NamedTuple):
    """An atom that can still gain bonds. left: bonds that its valence has left. aromatic_bonds: so far."""

    kind: int
    left: int
    aromatic_bonds: int = 0

    @property
    def free(self) -> int:
        """Single bonds that it can still have."""
        return self.left - (self.kind == AROMATIC_WITH_DOUBLE)

    @property
    def is_aromatic(self) -> bool:
        return self.kind in (AROMATIC, AROMATIC_WITH_DOUBLE)


class State(NamedTuple):
    """What decides which pieces may follow. current, stack, rings, bonds: places in `atoms`; rings are (digit, place, order of its bond)."""

    after: int
    order: int
    current: int
    stack: tuple[int, ...]
    rings: tuple[tuple[str, int, int], ...]
    atoms: tuple[Atom, ...]
    bonds: frozenset[tuple[int, int]]
    stars: int


class Piece(NamedTuple):
    """kind: what it is. order: of a bond. atom: as it begins. is_star: whether a polymer counts it. digit: of a ring."""

    kind: Literal["atom", "bond", "(", ")", "ring", "."]
    order: int = IMPLICIT
    atom: Atom | None = None
    is_star: bool = False
    digit: str = ""


BEGINNING = State(START, IMPLICIT, -1, (), (), (), frozenset(), 0)


def read_piece(text: str, rule: Rule) -> Piece | None:
    """The meaning of one piece of `split_smiles`; None where SMILES has no such piece, or one that is not written here (`$`, `~`, arrows)."""
    if text in _BONDS:
        return Piece("bond", order=_BONDS[text])
    if text == "(":
        return Piece("(")
    if text == ")":
        return Piece(")")
    if text == "." and rule == "molecule":
        return Piece(".")
    if _RING.fullmatch(text):
        return Piece("ring", digit=text.lstrip("%"))
    bracket = _BRACKET.fullmatch(text)
    if bracket is None and text not in _ORGANIC:
        return None
    symbol, hydrogens, charge = bracket.groups() if bracket else (text, None, None)
    if symbol == "*":
        return Piece("atom", atom=Atom(STAR, 1) if rule == "polymer" else Atom(PLAIN, _UNBOUNDED), is_star=True)
    if symbol not in _ELEMENTS.split():
        return None
    most = _most_bonds(symbol.capitalize(), _charge(charge or ""))
    left = most - (int(hydrogens[1:] or 1) if hydrogens else 0)
    kind = PLAIN if symbol[0].isupper() else AROMATIC_WITH_DOUBLE if left == 4 else AROMATIC
    return Piece("atom", atom=Atom(kind, left)) if left >= 0 else None


def advance(state: State, piece: Piece, rule: Rule) -> State | None:
    """The state behind `piece`, or None where it may not stand here."""
    after = state.after
    stands_behind_atom = after in (ATOM, CLOSE)
    match piece.kind:
        case "atom":
            return _with_atom(state, piece, rule)
        case "ring":
            return _with_ring(state, piece) if after in (ATOM, BOND_BEHIND_ATOM) else None
        case "bond":
            if after not in (ATOM, OPEN, CLOSE) or _spend(state.atoms[state.current], piece.order) is None:
                return None
            if piece.order == AROMATIC_BOND and not (state.rings or state.stack):
                return None
            return state._replace(after=BOND_BEHIND_ATOM if after == ATOM else BOND, order=piece.order)
        case "(":
            # A star of a polymer, which has one neighbour, begins no branch.
            current = state.atoms[state.current] if stands_behind_atom else None
            if current is None or current.free < 1 or current.kind == STAR:
                return None
            return state._replace(after=OPEN, stack=(*state.stack, state.current))
        case ")":
            if not stands_behind_atom or not state.stack:
                return None
            return _settled(state._replace(after=CLOSE, current=state.stack[-1], stack=state.stack[:-1]))
        case ".":
            return _settled(state._replace(after=START, current=-1)) if stands_behind_atom and not state.stack else None


def may_end(state: State, rule: Rule) -> bool:
    """Whether the text is complete."""
    closed = state.after in (ATOM, CLOSE) and not state.stack and not state.rings
    return closed and (rule == "molecule" or state.stars == 2) and _lack(state.atoms[state.current], 0) <= 0


def tokens_to_end(state: State, rule: Rule) -> int | None:
    """Pieces, <eos> included, with which the text can certainly be completed, seldom the fewest; None where nothing is sure to complete it.

    Counted is a plain way to do it: close branches, and carry on from an atom that can have one more bond with carbons that close all rings.
    """
    atoms, rings_of = list(state.atoms), dict[int, int]()
    for _, place, order in state.rings:
        # Only a ring bond that may be aromatic makes up for an aromatic bond that the atom still needs.
        rings_of[place] = rings_of.get(place, 0) + (order in (IMPLICIT, AROMATIC_BOND))
    is_pending = state.after in (BOND, BOND_BEHIND_ATOM)
    if is_pending:
        spent = _spend(atoms[state.current], state.order)
        assert spent is not None, f"a bond was allowed that {atoms[state.current]} has no room for"
        atoms[state.current] = spent
    lacking = 0
    for place, atom in enumerate(atoms):
        lack = _lack(atom, rings_of.get(place, 0))
        if lack > 0:
            if not _can_be_met(state, place, atom, lack):
                return None
            lacking += 1
    missing_stars = 2 - state.stars if rule == "polymer" else 0
    has_slot = state.after not in (ATOM, CLOSE) or any(atoms[place].free > 0 for place in (state.current, *state.stack))
    if (lacking or state.rings or missing_stars) and not has_slot:
        return None
    tokens = 1 + len(state.stack) + (state.after not in (ATOM, CLOSE))
    tokens += 2 * len(state.rings) + 2 if state.rings else 0
    # Closing rings at aromatic atoms may take a small ring that does nothing else.
    tokens += 8 * lacking + 6 if lacking or any(atoms[place].is_aromatic for _, place, _ in state.rings) else 0
    return tokens + (2 * missing_stars + 1 if missing_stars else 0)


def fewest_tokens_to_end(state: State, rule: Rule) -> int:
    """Pieces, <eos> included, without which no text can be completed: each closes one branch or one ring, or writes one star."""
    is_bare = state.after not in (ATOM, CLOSE)
    missing_stars = 2 - state.stars if rule == "polymer" else 0
    return 1 + len(state.stack) + len(state.rings) + max(missing_stars, is_bare)


def has_aromatic_business(state: State) -> bool:
    """Whether an aromatic atom still waits for bonds, so that `tokens_to_end` is no more than likely."""
    return any(atom.is_aromatic for atom in state.atoms)


def _can_be_met(state: State, place: int, atom: Atom, lack: int) -> bool:
    """Whether the atom can still have the `lack` aromatic bonds that it lacks beside its open rings."""
    in_stack = place in state.stack
    if place == state.current and state.after in (BOND, BOND_BEHIND_ATOM) and state.order in (IMPLICIT, AROMATIC_BOND):
        # The bond that is already written may be one of them.
        return bool(state.rings or state.stack) and atom.free >= lack - 1
    if not in_stack and place != state.current:
        return False
    if in_stack or state.after == CLOSE:
        # No ring begins behind a branch, so the bonds must lie in a ring that is open already.
        return bool(state.rings) and atom.free >= lack
    if state.after == ATOM:
        return atom.free >= (lack if state.rings else 2)
    # A bond is pending: behind the atom, the digit of a ring may take it, though no triple bond is in a ring here.
    return state.after == BOND_BEHIND_ATOM and state.order != 3 and atom.free >= lack


def _lack(atom: Atom, open_rings: int) -> int:
    """How many aromatic bonds an atom needs beside those it has and those its open rings may become."""
    return 2 - atom.aromatic_bonds - open_rings if atom.is_aromatic else 0


def _spend(atom: Atom, order: int) -> Atom | None:
    """The atom with one more bond, or None where it has no room for it."""
    if atom.kind == STAR:
        return Atom(STAR, 0) if atom.left and order != AROMATIC_BOND else None
    if order in (2, 3):
        # The double bond that was kept back is this one.
        kind = AROMATIC if atom.kind == AROMATIC_WITH_DOUBLE else atom.kind
        return Atom(kind, atom.left - order, atom.aromatic_bonds) if atom.left >= order else None
    if atom.free < 1 or (order == AROMATIC_BOND and not atom.is_aromatic):
        return None
    return atom._replace(left=atom.left - 1)


def _with_atom(state: State, piece: Piece, rule: Rule) -> State | None:
    atom = piece.atom
    assert atom is not None
    stars = state.stars + (piece.is_star and rule == "polymer")
    if state.after == START:
        return None if stars > 2 else _settled(state._replace(after=ATOM, current=len(state.atoms), atoms=(*state.atoms, atom), stars=stars))
    before = state.atoms[state.current]
    spent, new = _spend(before, state.order), _spend(atom, state.order)
    if spent is None or new is None or stars > 2 or (spent.kind == new.kind == STAR):
        return None
    # Outside every ring, a bond between two aromatic atoms is a single one.
    if spent.is_aromatic and new.is_aromatic and state.order in (IMPLICIT, AROMATIC_BOND) and (state.rings or state.stack):
        spent, new = (one._replace(aromatic_bonds=min(2, one.aromatic_bonds + 1)) for one in (spent, new))
    atoms = list(state.atoms)
    atoms[state.current] = spent
    place = len(atoms)
    bonds = state.bonds | {(state.current, place)}
    return _settled(state._replace(after=ATOM, order=IMPLICIT, current=place, atoms=(*atoms, new), bonds=bonds, stars=stars))


def _with_ring(state: State, piece: Piece) -> State | None:
    here, order, atoms = state.current, state.order, list(state.atoms)
    if atoms[here].kind == STAR or order == 3:
        return None
    ring = next((ring for ring in state.rings if ring[0] == piece.digit), None)
    if ring is None:
        spent = _spend(atoms[here], order)
        if spent is None:
            return None
        atoms[here] = spent
        rings = tuple(sorted((*state.rings, (piece.digit, here, order))))
        return state._replace(after=ATOM, order=IMPLICIT, rings=rings, atoms=tuple(atoms))
    _, there, opened = ring
    if here == there or (there, here) in state.bonds or (here, there) in state.bonds or (order and opened and order != opened):
        return None
    final = order or opened
    spent = _spend(atoms[here], final)
    # The atom at the other end has paid for its bond as it was written there.
    other: Atom | None = atoms[there]
    if final == 2 and opened == IMPLICIT:
        other = _spend(atoms[there]._replace(left=atoms[there].left + 1), 2)
    if spent is None or other is None or (final == AROMATIC_BOND and not other.is_aromatic):
        return None
    if final in (IMPLICIT, AROMATIC_BOND) and spent.is_aromatic and other.is_aromatic:
        spent, other = (one._replace(aromatic_bonds=min(2, one.aromatic_bonds + 1)) for one in (spent, other))
    atoms[here], atoms[there] = spent, other
    rings = tuple(ring for ring in state.rings if ring[0] != piece.digit)
    bonds = state.bonds | {(there, here)}
    return _settled(state._replace(after=ATOM, order=IMPLICIT, rings=rings, atoms=tuple(atoms), bonds=bonds))


def _settled(state: State) -> State | None:
    """The state without atoms that can gain no more bonds, or None where one of them is aromatic without being in a ring."""
    openers = {place for _, place, _ in state.rings}
    reachable = {state.current, *state.stack} - {-1}
    live = sorted(reachable | openers)
    if any(_lack(atom, 0) > 0 for place, atom in enumerate(state.atoms) if place not in reachable and place not in openers):
        return None
    moved = {place: index for index, place in enumerate(live)}
    # Two atoms matter as neighbours while a ring might still join them.
    bonds = frozenset(
        (moved[one], moved[two]) for one, two in state.bonds if (one in openers and two in reachable) or (two in openers and one in reachable)
    )
    return state._replace(
        current=moved.get(state.current, -1),
        stack=tuple(moved[place] for place in state.stack),
        rings=tuple((digit, moved[place], order) for digit, place, order in state.rings),
        atoms=tuple(state.atoms[place] for place in live),
        bonds=bonds,
    )


def _most_bonds(element: str, charge: int) -> int:
    most = _MOST.get(element)
    return _UNBOUNDED if most is None or abs(charge) > 2 else most[charge + 2]


def _charge(text: str) -> int:
    """Such as -1 for `-`, 2 for `++` or `+2`."""
    if not text:
        return 0
    sign = -1 if text[0] == "-" else 1
    return sign * (int(text[1:]) if text[1:].isdigit() else len(text))
