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
_MAY_BE_AROMATIC = (IMPLICIT, AROMATIC_BOND)

_UNBOUNDED = 20
# The most bonds and hydrogens that RDKit grants at charges -2 to 2; elements that are not here have no bound in RDKit, or none that matters.
_TABLE = """
H82188 B34328 C23432 N12343 O01234 F80123 Al54388 Si65438 P36543 S45654 Cl80165 Ge65438 As36543 Se45654 Br80165 Sn65438 Sb56543 Te65654 I16565
"""
_MOST = {element: tuple(map(int, bonds)) for element, bonds in re.findall(r"([A-Z][a-z]?)(\d{5})", _TABLE)}
_BRACKET = re.compile(r"\[\d*(\*|[A-Z][a-z]?|[a-z][a-z]?)(?:@(?:@|TH\d|AL\d|SP\d|TB\d+|OH\d+)?)?(H\d*)?([+-]\d+|\++|-+)?(?::\d+)?\]")
_ORGANIC = ("B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I", "b", "c", "n", "o", "p", "s", "*")
_NAMES = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe
Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U b c n o p s se te as si
"""
_ELEMENTS = frozenset(re.findall(r"\w+", _NAMES))


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

    order: of the bond that is begun, which `current` has paid for. near: atoms with open rings that are bound to the current one. dealt: the ways to
    deal out double bonds, each a number whose bit i is set when atom i has its own. stars: how many are still to be written.
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
    atom: Atom = Atom(PLAIN, 0)
    digit: str = ""


# A bond with a direction is aromatic between aromatic atoms, as one that is not written.
_BONDS = {"-": 1, "/": IMPLICIT, "\\": IMPLICIT, "=": 2, "#": 3, ":": AROMATIC_BOND}
_SIGNS = {"(": Piece("("), ")": Piece(")"), **{text: Piece("bond", order) for text, order in _BONDS.items()}}


def beginning(rule: Rule) -> State:
    """Before the first piece. A polymer has exactly two `*`, each with one neighbour, in one piece."""
    return State(START, IMPLICIT, -1, (), (), (), (), frozenset([0]), 2 if rule == "polymer" else 0)


def read_piece(text: str, rule: Rule) -> Piece | None:
    """The meaning of one piece of `split_smiles`; None where SMILES has no such piece, or one that is not written here (`$`, `~`, arrows)."""
    if text in _SIGNS:
        return _SIGNS[text]
    if text == "." and rule == "molecule":
        return Piece(".")
    if re.fullmatch(r"%?\d+", text):
        return Piece("ring", digit=text.lstrip("%"))
    bracket = _BRACKET.fullmatch(text)
    if bracket is None and text not in _ORGANIC:
        return None
    symbol, hydrogens, charges = bracket.groups(default="") if bracket else (text, "", "")
    if symbol == "*":
        return Piece("atom", atom=Atom(STAR, 1) if rule == "polymer" else Atom(PLAIN, _UNBOUNDED))
    if symbol not in _ELEMENTS:
        return None
    charge = int(charges) if charges[1:].isdigit() else charges.count("+") - charges.count("-")
    most = _MOST.get(symbol.capitalize(), ())[charge + 2 : charge + 3] if abs(charge) <= 2 else ()
    bonds = most[0] if most else _UNBOUNDED
    left = bonds - (int(hydrogens[1:] or 1) if hydrogens else 0)
    kind = PLAIN if symbol[0].isupper() else ODD if symbol in ("p", "s", "as", "se", "te") else FOUR if bonds == 4 else ANY_LEFT
    return Piece("atom", atom=Atom(kind, left)) if left >= 0 else None


def advance(state: State, piece: Piece) -> State | None:
    """The state behind `piece`, or None where it may not stand here."""
    after, here = state.after, state.current
    stands_behind_atom = after in (ATOM, CLOSE)
    match piece.kind:
        case "atom":
            return _with_atom(state, piece.atom)
        case "ring":
            return _with_ring(state, piece.digit) if after in (ATOM, BOND_BEHIND_ATOM) else None
        case "bond":
            spent = _spend(state.atoms[here], piece.order) if after in (ATOM, OPEN, CLOSE) else None
            return spent and _set(state._replace(after=BOND_BEHIND_ATOM if after == ATOM else BOND, order=piece.order), {here: spent})
        case "(":
            # A star of a polymer, which has one neighbour, begins no branch.
            may_branch = stands_behind_atom and state.atoms[here].free > 0 and state.atoms[here].kind != STAR
            return state._replace(after=OPEN, stack=(*state.stack, here)) if may_branch else None
        case ")":
            if not stands_behind_atom or not state.stack:
                return None
            return _retire(state._replace(after=CLOSE, current=state.stack[-1], stack=state.stack[:-1], near=()), here)
        case ".":
            return _retire(state._replace(after=START, current=-1, near=()), here) if stands_behind_atom and not state.stack else None


def may_end(state: State) -> bool:
    """Whether the text is complete."""
    is_closed = state.after in (ATOM, CLOSE) and not state.stack and not state.rings and not state.stars
    return is_closed and _retire(state._replace(current=-1), state.current) is not None


def fewest_to_end(state: State) -> int | None:
    """Pieces, the end included, without which the text cannot be completed; None where it is clear that nothing completes it.

    A lower bound that costs little: each open branch and ring takes a piece to close, and of the reasons for more pieces only the strongest counts.
    """
    after, rings, here = state.after, state.rings, state.current
    opened, takes_digits = [place for _, place, _ in rings], after in (ATOM, BOND_BEHIND_ATOM)
    bound = {here, *state.stack} - {-1}
    # Digits take a valence of the atom that they follow at once; rings of one atom end at different ones, and have three atoms.
    more = int(len(rings) > (state.atoms[here].left + (after == BOND_BEHIND_ATOM) if takes_digits else 0))
    for place in opened:
        more = max(more, opened.count(place) - 1, 1 + (not state.stack) if place == here else place in state.near)
    # A star takes no digit, and ends the text or a branch.
    more += state.stars + (2 if state.stars == 2 and not state.stack and after != START else 0)
    more = max(more, after in (START, OPEN, BOND) or (after == BOND_BEHIND_ATOM and not rings))
    # The atom whose bond that is begun may become one of an aromatic ring.
    begun = here if rings and after in (BOND, BOND_BEHIND_ATOM) and state.order in _MAY_BE_AROMATIC else -1
    lacks = {place: 2 - atom.ring_bonds - opened.count(place) - (place == begun) for place, atom in enumerate(state.atoms) if atom.is_aromatic}
    for place, lack in lacks.items():
        if lack > 0:
            # One that begins a ring has a bond to the next atom of that as well.
            can_close = place == here and takes_digits
            if place not in bound or state.atoms[place].free < (lack if rings else 2) or not (rings or can_close):
                return None
            more = max(more, lack - can_close * len(rings) if rings else 3)
    unmatched = [number for way in state.dealt if (number := _unmatched(state, way, lacks, begun)) is not None]
    more = max(more, min(unmatched, default=0))
    # Only a bond that is begun, or an atom with a valence that no way to deal out double bonds takes, lets the text go on.
    can_go_on = after not in (ATOM, CLOSE) or any(
        state.atoms[place].left > (way >> place & 1 or state.atoms[place].kind == FOUR) for way in state.dealt for place in bound
    )
    return 1 + len(state.stack) + len(rings) + more if unmatched and (can_go_on or not (more or rings)) else None


def _unmatched(state: State, way: int, lacks: dict[int, int], begun: int) -> int | None:
    """The fewest further pieces with which every live atom can have the double bond that it needs, in one way; None where some cannot."""
    opened, takes_digits = {place for _, place, _ in state.rings}, state.after in (ATOM, BOND_BEHIND_ATOM)
    # A double bond that is begun may end at any of them.
    openers, others, either = 0, 0, int(state.after == BOND_BEHIND_ATOM and state.order == 2)
    for place, lack in lacks.items():
        atom, is_here = state.atoms[place], place == state.current
        if way >> place & 1:
            # Beside the double bond there must be room for the second bond of its ring.
            if atom.left - 1 < lack:
                return None
        elif atom.needs_double:
            if place in opened:
                is_bound = is_here or place in state.stack
                either, openers = either + is_bound, openers + (not is_bound)
            elif atom.free > 0 or place == begun:
                # A ring that ends at any other than carbon fills its valence, double or not.
                is_flexible = is_here and atom.kind != FOUR and takes_digits and bool(state.rings)
                either, others = either + is_flexible, others + (not is_flexible)
            else:
                # Its bonds are all written, and none of them is double in this way.
                return None
    # A ring's bond gives a double bond to both its ends, and each other one takes an atom.
    return max(0, abs(openers - others) - either)


def _spend(atom: Atom, order: int) -> Atom | None:
    """The atom with one more bond, or None where it has no room for it."""
    if atom.kind == STAR:
        return Atom(STAR, 0) if atom.left and order != AROMATIC_BOND else None
    if order in (2, 3):
        # The double bond that an aromatic carbon needs is this one.
        return Atom(ANY_LEFT if atom.kind == FOUR else atom.kind, atom.left - order, atom.ring_bonds) if atom.left >= order else None
    return Atom(atom.kind, atom.left - 1, atom.ring_bonds) if atom.free > 0 and (order != AROMATIC_BOND or atom.is_aromatic) else None


def _with_atom(state: State, atom: Atom) -> State | None:
    stars, here, place = state.stars - (atom.kind == STAR), state.current, len(state.atoms)
    if stars < 0:
        return None
    behind = state._replace(after=ATOM, order=IMPLICIT, current=place, atoms=(*state.atoms, atom), stars=stars)
    if state.after == START:
        return behind
    has_paid = state.after in (BOND, BOND_BEHIND_ATOM)
    spent, new = state.atoms[here] if has_paid else _spend(state.atoms[here], IMPLICIT), _spend(atom, state.order)
    if spent is None or new is None or (spent.kind == new.kind == STAR):
        return None
    near = (here,) if any(ring[1] == here for ring in state.rings) else ()
    # Outside every ring, a bond between two aromatic atoms is a single one.
    linked = _set(behind._replace(near=near), {here: spent, place: new}, may_be_aromatic=bool(state.rings) and state.order in _MAY_BE_AROMATIC)
    return linked and _retire(linked, here)


def _with_ring(state: State, digit: str) -> State | None:
    here, order, has_paid = state.current, state.order, state.after == BOND_BEHIND_ATOM
    ring = next((ring for ring in state.rings if ring[0] == digit), None)
    final = order or (ring[2] if ring else IMPLICIT)
    spent = state.atoms[here] if has_paid else _spend(state.atoms[here], final)
    if spent is None or spent.kind == STAR or final == 3:
        return None
    behind = state._replace(after=ATOM, order=IMPLICIT)
    if ring is None:
        return _set(behind._replace(rings=tuple(sorted((*state.rings, (digit, here, order))))), {here: spent})
    _, there, opened = ring
    if here == there or there in state.near or (opened and has_paid and order != opened):
        return None
    other: Atom | None = state.atoms[there]
    if final == 2 and opened == IMPLICIT:
        # The atom at the other end has paid for a single bond as its digit was written.
        other = _spend(state.atoms[there]._replace(left=state.atoms[there].left + 1), 2)
    if other is None or (final == AROMATIC_BOND and not other.is_aromatic):
        return None
    rings = tuple(one for one in state.rings if one != ring)
    near = tuple(place for place in (*state.near, there) if any(one[1] == place for one in rings))
    linked = _set(behind._replace(rings=rings, near=near), {there: other, here: spent}, may_be_aromatic=final in _MAY_BE_AROMATIC)
    return linked and _retire(linked, there)


def _set(state: State, changed: dict[int, Atom], *, may_be_aromatic: bool = False) -> State | None:
    """The state with changed atoms, and, where there are two, a new bond between them; None where no way to deal out double bonds is left."""
    ways = state.dealt
    if may_be_aromatic and all(atom.is_aromatic for atom in changed.values()):
        changed = {place: atom._replace(ring_bonds=min(2, atom.ring_bonds + 1)) for place, atom in changed.items()}
        both = sum(1 << place for place in changed)
        ways |= {way | both for way in ways if not way & both}
    # A double bond takes one valence that other bonds have not taken.
    full = sum(1 << place for place, atom in changed.items() if not atom.left)
    ways = frozenset(way for way in ways if not way & full)
    return state._replace(atoms=tuple(changed.get(place, atom) for place, atom in enumerate(state.atoms)), dealt=ways) if ways else None


def _retire(state: State, place: int) -> State | None:
    """The state without an atom, if that can gain no more bonds; None where it is aromatic and lacks what every such atom has."""
    if place == state.current or place in state.stack or any(ring[1] == place for ring in state.rings):
        return state
    atom, ways = state.atoms[place], state.dealt
    if atom.is_aromatic:
        ways = frozenset(way for way in ways if (way >> place & 1) == atom.needs_double)
        if atom.ring_bonds < 2 or not ways:
            return None
    below = (1 << place) - 1
    return state._replace(
        current=state.current - (state.current > place),
        stack=tuple(one - (one > place) for one in state.stack),
        rings=tuple((digit, one - (one > place), order) for digit, one, order in state.rings),
        atoms=state.atoms[:place] + state.atoms[place + 1 :],
        near=tuple(one - (one > place) for one in state.near),
        dealt=frozenset(way & below | way >> place + 1 << place for way in ways),
    )
