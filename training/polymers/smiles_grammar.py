"""Which piece of a SMILES may follow the ones before it, so that the text can still become a molecule: a pure function of a small state.

A state remembers no more than what later pieces depend on: the atoms that can still gain bonds (the last one, those at open branches, those with open
rings) and what their valences have left. For aromatic atoms it also holds every way to deal out the double bonds so far (Kekulé), of which all that
matters is which of the live atoms have theirs; an atom that can gain no more bonds must have what it needs in the ways that are left.
Valences, and which aromatic atoms need a double bond, are RDKit's. Sources: Weininger 1988; OpenSMILES 1.0; the masks of GrammarVAE (Kusner et al.
2017), which count no valences; dealing out double bonds is perfect matching, here along the text.
"""

import re
from typing import Literal, NamedTuple

Rule = Literal["molecule", "polymer"]

# What a text ends in: nothing yet, an atom or its ring digits, `(`, `)`, a bond right behind an atom, a bond behind a parenthesis.
START, ATOM, OPEN, CLOSE, BOND_BEHIND_ATOM, BOND = range(6)
# Aromatic atoms by the double bond they need: ANY_LEFT while a valence is left; FOUR likewise, but its last valence is for nothing else; ODD when an
# odd number is left, as of sulphur, whose valences are 2, 4, 6. A star of a polymer has one bond.
PLAIN, STAR, ANY_LEFT, FOUR, ODD = range(5)

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
""".split()
_HYPERVALENT = ("p", "s", "as", "se", "te")
_RING = re.compile(r"%?\d+")


class Atom(NamedTuple):
    """An atom that can still gain bonds. left: bonds that its valence has left. ring_bonds: aromatic ones so far, 2 for more."""

    kind: int
    left: int
    ring_bonds: int = 0

    @property
    def is_aromatic(self) -> bool:
        return self.kind >= ANY_LEFT

    @property
    def free(self) -> int:
        """Single bonds that it can still have."""
        return self.left - (self.kind == FOUR)

    @property
    def needs_double(self) -> bool:
        """Whether RDKit gives it one of the ring's double bonds if it gains no more bonds."""
        return self.left % 2 == 1 if self.kind == ODD else self.left > 0


class State(NamedTuple):
    """What decides which pieces may follow. current, stack, rings, near: places in `atoms`; rings are (digit, place, order of its bond).

    near: atoms with open rings that are bound to the current one. dealt: the ways to deal out double bonds, each a number whose bit i is set when atom
    i has its own. stars: how many are still to be written.
    """

    after: int
    order: int
    current: int
    stack: tuple[int, ...]
    rings: tuple[tuple[str, int, int], ...]
    atoms: tuple[Atom, ...]
    near: tuple[int, ...]
    dealt: frozenset[int]
    stars: int


class Piece(NamedTuple):
    """kind: what it is. order: of a bond. atom: as it begins. digit: of a ring."""

    kind: Literal["atom", "bond", "(", ")", "ring", "."]
    order: int = IMPLICIT
    atom: Atom | None = None
    digit: str = ""


def beginning(rule: Rule) -> State:
    """Before the first piece. A polymer has exactly two `*`, each with one neighbour, in one piece."""
    return State(START, IMPLICIT, -1, (), (), (), (), frozenset([0]), 2 if rule == "polymer" else 0)


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
        return Piece("atom", atom=Atom(STAR, 1) if rule == "polymer" else Atom(PLAIN, _UNBOUNDED))
    if symbol not in _ELEMENTS:
        return None
    most = _most_bonds(symbol.capitalize(), _charge(charge or ""))
    left = most - (int(hydrogens[1:] or 1) if hydrogens else 0)
    kind = PLAIN if symbol[0].isupper() else ODD if symbol in _HYPERVALENT else FOUR if most == 4 else ANY_LEFT
    return Piece("atom", atom=Atom(kind, left)) if left >= 0 else None


def advance(state: State, piece: Piece) -> State | None:
    """The state behind `piece`, or None where it may not stand here."""
    after = state.after
    stands_behind_atom = after in (ATOM, CLOSE)
    match piece.kind:
        case "atom":
            return _with_atom(state, piece.atom) if piece.atom else None
        case "ring":
            return _with_ring(state, piece.digit) if after in (ATOM, BOND_BEHIND_ATOM) else None
        case "bond":
            if after not in (ATOM, OPEN, CLOSE) or _spend(state.atoms[state.current], piece.order) is None:
                return None
            return state._replace(after=BOND_BEHIND_ATOM if after == ATOM else BOND, order=piece.order)
        case "(":
            # A star of a polymer, which has one neighbour, begins no branch.
            if not stands_behind_atom or state.atoms[state.current].kind == STAR or state.atoms[state.current].free < 1:
                return None
            return state._replace(after=OPEN, stack=(*state.stack, state.current))
        case ")":
            if not stands_behind_atom or not state.stack:
                return None
            return _retire(state._replace(after=CLOSE, current=state.stack[-1], stack=state.stack[:-1], near=()), state.current)
        case ".":
            return _retire(state._replace(after=START, current=-1, near=()), state.current) if stands_behind_atom and not state.stack else None


def may_end(state: State) -> bool:
    """Whether the text is complete."""
    if state.after not in (ATOM, CLOSE) or state.stack or state.rings or state.stars:
        return False
    return _retire(state._replace(current=-1), state.current) is not None


def fewest_to_end(state: State) -> int | None:
    """Pieces, the end included, without which the text cannot be completed; None where it is clear that nothing completes it.

    A lower bound that costs little: each open branch and ring takes a piece to close, and of the reasons for more pieces only the strongest counts.
    """
    after, rings, atoms = state.after, state.rings, state.atoms
    bound = set(state.stack)
    if state.current >= 0:
        bound.add(state.current)
    opened = {place for _, place, _ in rings}
    is_pending = after in (BOND, BOND_BEHIND_ATOM)
    more = int(after in (START, OPEN, BOND) or (after == BOND_BEHIND_ATOM and not rings))
    for place in opened:
        # A ring has three atoms, and no digit stands behind a branch.
        more = max(more, 1 + (not state.stack) if place == state.current else int(place in state.near or after not in (ATOM, BOND_BEHIND_ATOM)))
    more = max(more, state.stars)
    lacking = _lacking(state, bound)
    if lacking is None:
        return None
    unmatched = _unmatched(state, bound, opened)
    if unmatched is None:
        return None
    more = max(more, lacking, unmatched)
    # Only a bond that is begun, or an atom with a valence that no way to deal out double bonds takes, lets the text go on.
    if (more or rings) and not (is_pending or after in (START, OPEN)):
        if not any(atoms[place].left > (way >> place & 1 or atoms[place].kind == FOUR) for way in state.dealt for place in bound):
            return None
    return 1 + len(state.stack) + len(rings) + more


def _lacking(state: State, bound: set[int]) -> int | None:
    """Further pieces without which some live atom has no two aromatic bonds; None where one cannot gain them."""
    most, is_pending = 0, state.after in (BOND, BOND_BEHIND_ATOM)
    for place, atom in enumerate(state.atoms):
        if not atom.is_aromatic or atom.ring_bonds >= 2:
            continue
        # An open ring's bond may become one.
        lack = 2 - atom.ring_bonds - sum(at == place and order in (IMPLICIT, AROMATIC_BOND) for _, at, order in state.rings)
        if lack <= 0:
            continue
        # The bond that is written may be none of them, but takes its room; a double one is what was kept back.
        taken = state.order if is_pending and place == state.current and state.order in (1, 2, 3) else 0
        free = atom.left - taken - (atom.kind == FOUR and taken < 2)
        # Digits stand only right behind an atom; one that begins a ring has a bond to the next atom of that as well.
        takes_digits = place == state.current and state.after in (ATOM, BOND_BEHIND_ATOM)
        if place not in bound or free < (lack if state.rings else 2) or not (state.rings or takes_digits):
            return None
        most = max(most, lack - takes_digits * len(state.rings) if state.rings else 3)
    return most


def _unmatched(state: State, bound: set[int], opened: set[int]) -> int | None:
    """The fewest further atoms with which every live atom can have the double bond that it needs; None where some cannot."""
    best = None
    # The current atom, where a bond is begun that gives it no double one.
    is_single = state.after in (BOND, BOND_BEHIND_ATOM) and (state.order in (1, 3) or (state.order == IMPLICIT and not state.rings))
    taken = state.order if state.after in (BOND, BOND_BEHIND_ATOM) and state.order in (1, 2, 3) else 0
    for way in state.dealt:
        # A double bond that is begun may end at any of them.
        openers, others, both = 0, 0, int(state.after == BOND_BEHIND_ATOM and state.order == 2)
        for place, atom in enumerate(state.atoms):
            if way >> place & 1:
                # Beside the double bond there must be room for a second bond of its ring, and for the bond that is begun.
                lack = 0 if place in opened else 2 - atom.ring_bonds
                if atom.left - 1 < lack + (taken if place == state.current else 0):
                    break
                continue
            if not atom.is_aromatic or not atom.needs_double:
                continue
            if place in opened:
                both, openers = both + (place in bound), openers + (place not in bound)
            elif atom.free > (is_single and place == state.current and atom.kind == FOUR):
                # A ring that ends at any other than carbon fills its valence, double or not.
                is_flexible = place == state.current and atom.kind != FOUR and state.rings and state.after in (ATOM, BOND_BEHIND_ATOM)
                both, others = both + bool(is_flexible), others + (not is_flexible)
            else:
                # Its bonds are all written, and none of them is double in this way.
                break
        else:
            # A ring's bond gives a double bond to both its ends, and each other one takes an atom.
            number = max(0, abs(openers - others) - both)
            best = number if best is None else min(best, number)
    return best


def _spend(atom: Atom, order: int) -> Atom | None:
    """The atom with one more bond, or None where it has no room for it."""
    if atom.kind == STAR:
        return Atom(STAR, 0) if atom.left and order != AROMATIC_BOND else None
    if order in (2, 3):
        # The double bond that an aromatic carbon needs is this one.
        return Atom(ANY_LEFT if atom.kind == FOUR else atom.kind, atom.left - order, atom.ring_bonds) if atom.left >= order else None
    if atom.free < 1 or (order == AROMATIC_BOND and not atom.is_aromatic):
        return None
    return Atom(atom.kind, atom.left - 1, atom.ring_bonds)


def _with_atom(state: State, atom: Atom) -> State | None:
    stars = state.stars - (atom.kind == STAR)
    if stars < 0:
        return None
    here, place = state.current, len(state.atoms)
    if state.after == START:
        return state._replace(after=ATOM, current=place, atoms=(*state.atoms, atom), stars=stars)
    spent, new = _spend(state.atoms[here], state.order), _spend(atom, state.order)
    if spent is None or new is None or (spent.kind == new.kind == STAR):
        return None
    near = (here,) if any(ring[1] == here for ring in state.rings) else ()
    behind = state._replace(after=ATOM, order=IMPLICIT, current=place, atoms=(*state.atoms, new), near=near, stars=stars)
    # Outside every ring, a bond between two aromatic atoms is a single one.
    linked = _linked(behind, here, spent, place, new, may_be_aromatic=bool(state.rings) and state.order in (IMPLICIT, AROMATIC_BOND))
    return linked and _retire(linked, here)


def _with_ring(state: State, digit: str) -> State | None:
    here, order = state.current, state.order
    atom = state.atoms[here]
    spent = _spend(atom, order)
    if spent is None or atom.kind == STAR or order == 3:
        return None
    ring = next((ring for ring in state.rings if ring[0] == digit), None)
    if ring is None:
        rings = tuple(sorted((*state.rings, (digit, here, order))))
        return _linked(state._replace(after=ATOM, order=IMPLICIT, rings=rings), here, spent, here, spent, may_be_aromatic=False)
    _, there, opened = ring
    if here == there or there in state.near or (order and opened and order != opened):
        return None
    final = order or opened
    other: Atom | None = state.atoms[there]
    # The atom at the other end has paid for its bond as it was written there; what was said at one end holds for both.
    if final != order:
        spent = _spend(atom, final)
    elif final == 2 and opened == IMPLICIT:
        other = _spend(state.atoms[there]._replace(left=state.atoms[there].left + 1), 2)
    if spent is None or other is None or (final == AROMATIC_BOND and not other.is_aromatic):
        return None
    rings = tuple(one for one in state.rings if one != ring)
    near = (*state.near, there) if any(one[1] == there for one in rings) else state.near
    near = tuple(one for one in near if any(left[1] == one for left in rings))
    behind = state._replace(after=ATOM, order=IMPLICIT, rings=rings, near=near)
    linked = _linked(behind, there, other, here, spent, may_be_aromatic=final in (IMPLICIT, AROMATIC_BOND))
    return linked and _retire(linked, there)


def _linked(state: State, one: int, first: Atom, two: int, second: Atom, *, may_be_aromatic: bool) -> State | None:
    """The state with the atoms `first` and `second` in these places, whose new bond may be one of an aromatic ring; None where no way is left."""
    ways = state.dealt
    if may_be_aromatic and first.is_aromatic and second.is_aromatic:
        first, second = (Atom(atom.kind, atom.left, min(2, atom.ring_bonds + 1)) for atom in (first, second))
        both = 1 << one | 1 << two
        if first.left and second.left:
            ways |= {way | both for way in ways if not way & both}
    # A double bond takes one valence that other bonds have not taken.
    full = (not first.left) << one | (not second.left) << two
    if full and any(way & full for way in ways):
        ways = frozenset(way for way in ways if not way & full)
        if not ways:
            return None
    atoms = list(state.atoms)
    atoms[one], atoms[two] = first, second
    return state._replace(atoms=tuple(atoms), dealt=ways)


def _retire(state: State, place: int) -> State | None:
    """The state without an atom, if that can gain no more bonds; None where it is aromatic and lacks what every such atom has."""
    if place == state.current or place in state.stack or any(ring[1] == place for ring in state.rings):
        return state
    atom = state.atoms[place]
    below, ways = (1 << place) - 1, state.dealt
    if atom.is_aromatic:
        if atom.ring_bonds < 2:
            return None
        ways = frozenset(way for way in ways if (way >> place & 1) == atom.needs_double)
        if not ways:
            return None
    return state._replace(
        current=state.current - (state.current > place),
        stack=tuple(one - (one > place) for one in state.stack),
        rings=tuple((digit, one - (one > place), order) for digit, one, order in state.rings),
        atoms=state.atoms[:place] + state.atoms[place + 1 :],
        near=tuple(one - (one > place) for one in state.near),
        dealt=frozenset(way & below | way >> place + 1 << place for way in ways),
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
