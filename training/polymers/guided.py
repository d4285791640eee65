"""Guided decoding: at each token only what can still become a molecule, for every model that writes SMILES token by token.

    python -m training.polymers.gpt.sample --model data/polygpt --number 20 --guided

What is allowed is decided in training/polymers/smiles_grammar.py. A `Guide` turns that into masks over a vocabulary whose tokens are pieces of SMILES
or sequences of them. Its states are remembered, with what may follow and how many tokens it then takes to end, so that a mask costs a comparison.
"""

import functools
import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.polymers.conditions import MoleculeModelError
from training.polymers.smiles import split_smiles
from training.polymers.smiles_grammar import (
    BEGINNING,
    Piece,
    Rule,
    State,
    advance,
    fewest_tokens_to_end,
    has_aromatic_business,
    may_end,
    read_piece,
    tokens_to_end,
)
from training.polymers.smiles_tokenizer import EOS, SPECIAL_TOKENS, readable_tokens

# More than any room: a token that may not be written.
_NEVER = 2**15 - 1
# States remembered; they are dropped all at once beyond it. A state takes about 2 KiB.
_REMEMBERED = 50_000
# How many ways to end a text are looked at, and with how many tokens to spare.
_MOST_SEARCHED, _SPARE = 200, 8
_FOR_ENDING = ("C", "c", "n", "o", "[nH]", "*", "(", ")", "-", "=")
_NEEDED: dict[Rule, tuple[str, ...]] = {"molecule": ("C", "(", ")"), "polymer": ("C", "(", ")", "*")}


@dataclass(eq=False)
class Place:
    """Where a text stands. tokens: by token, how many more are certain to end it behind that token, [V]; _NEVER for those that may not follow.

    behind: the places that were asked for, by token. searched: whether a token's number is already the fewest that was found.
    """

    state: State
    tokens: numpy.ndarray
    behind: dict[int, "Place"] = field(default_factory=dict)
    searched: set[int] = field(default_factory=set)


class Guide:
    """Says which tokens may follow. tokens: by id, the text of each, None for one that is never written; end: the id of the one that ends a text.

    rule: "molecule", or "polymer", which asks for exactly two `*` with one neighbour each. Raises MoleculeModelError for a vocabulary with which
    texts cannot be completed.
    """

    def __init__(self, tokens: Sequence[str | None], end: int, rule: Rule = "molecule") -> None:
        missing = [piece for piece in _NEEDED[rule] if piece not in tokens]
        if missing:
            wanted = f"guided decoding like {rule}s needs {' '.join(_NEEDED[rule])}"
            raise MoleculeModelError(f"the vocabulary has no token {missing[0]}; {wanted}; learn the tokenizer on {rule}s, or set guided: false")
        self.rule, self.end, self.size = rule, end, len(tokens)
        self._pieces = [None if text is None else _pieces(text, rule) for text in tokens]
        # Tokens that mean the same, such as C and [C@H] without neighbours, are looked at once.
        self._alike: dict[tuple[Piece, ...], list[int]] = {}
        for token, pieces in enumerate(self._pieces):
            if pieces:
                self._alike.setdefault(pieces, []).append(token)
        self._digits = sorted((pieces[0].digit for pieces in self._alike if len(pieces) == 1 and pieces[0].digit), key=lambda text: (len(text), text))
        known = set(tokens)
        self._for_ending = [piece for text in _FOR_ENDING if text in known and (piece := read_piece(text, rule))]
        self._places: dict[State, Place] = {}
        self._found: dict[State, int] = {}

    def begin(self) -> Place:
        """Before the first token."""
        return self._place(BEGINNING)

    def follow(self, place: Place, token: int) -> Place | None:
        """Behind one more token; None behind one that was not allowed, from where nothing is known."""
        if token not in place.behind:
            if place.tokens[token] == _NEVER or not self._pieces[token]:
                return None
            state = self._advanced(place.state, self._pieces[token])
            assert state is not None, f"token {token} was allowed behind {place.state}"
            place.behind[token] = self._place(state)
        return place.behind[token]

    def allowed(self, places: Sequence[Place | None], room: int) -> numpy.ndarray:
        """[B, V] bool: which tokens may follow where `room` more can be written, the end included. Everything at None."""
        for place in places:
            if place is not None:
                self._look_closer(place, room)
        anything = numpy.zeros(self.size, dtype=numpy.int16)
        return numpy.stack([anything if place is None else place.tokens for place in places]) < room

    def _place(self, state: State) -> Place:
        place = self._places.get(state)
        if place is None:
            if len(self._places) >= _REMEMBERED:
                self._places.clear()
                self._found.clear()
            place = self._places[state] = Place(state, self._tokens_behind(state))
        return place

    def _tokens_behind(self, state: State) -> numpy.ndarray:
        found = numpy.full(self.size, _NEVER, dtype=numpy.int16)
        open_rings, of_new_ring = {ring[0] for ring in state.rings}, None
        for pieces, tokens in self._alike.items():
            opens = len(pieces) == 1 and pieces[0].kind == "ring" and pieces[0].digit not in open_rings
            # Which number a new ring is given changes nothing.
            if opens and of_new_ring is not None:
                found[tokens] = of_new_ring
                continue
            behind = self._advanced(state, pieces)
            number = None if behind is None else tokens_to_end(behind, self.rule)
            # That an aromatic ring can be closed is no more than likely, so a way is looked for while there is still room.
            found[tokens] = _NEVER if number is None else number + (_SPARE if behind and has_aromatic_business(behind) else 0)
            if opens:
                of_new_ring = found[tokens[0]]
        if may_end(state, self.rule):
            found[self.end] = 0
        return found

    def _look_closer(self, place: Place, room: int) -> None:
        """Where the room is too small for the plain way to end, look for shorter ones."""
        for token in numpy.flatnonzero((place.tokens >= room) & (place.tokens < _NEVER)).tolist():
            if token not in place.searched:
                place.searched.add(token)
                pieces = self._pieces[token]
                behind = self._advanced(place.state, pieces) if pieces else None
                assert behind is not None, f"token {token} was allowed behind {place.state}"
                place.tokens[token] = self._fewest(behind)

    def _fewest(self, state: State) -> int:
        """The tokens of the shortest way to end that a search of bounded length finds. After A* (Hart et al. 1968), but greedy."""
        if state not in self._found:
            self._search(state)
        return self._found[state]

    def _search(self, state: State) -> None:
        order, parents = itertools.count(), dict[State, State | None]({state: None})
        queue = [(0.0, next(order), 0, state)]
        for _ in range(_MOST_SEARCHED):
            if not queue:
                break
            _, _, written, here = heapq.heappop(queue)
            rest = 1 if may_end(here, self.rule) else self._found.get(here, _NEVER)
            if rest < _NEVER:
                self._remember_way(here, rest, parents)
                return
            for piece in self._pieces_for_ending(here):
                behind = advance(here, piece, self.rule)
                plain = None if behind is None or behind in parents else tokens_to_end(behind, self.rule)
                if behind is not None and plain is not None:
                    parents[behind] = here
                    promise = (plain + fewest_tokens_to_end(behind, self.rule)) / 2
                    # Of two that promise the same, the one that was met last, which is further.
                    heapq.heappush(queue, (written + promise, -next(order), written + 1, behind))
        # Nothing was found: the plain way, where it is certain, and otherwise none.
        plain = tokens_to_end(state, self.rule) if not has_aromatic_business(state) else None
        self._found[state] = _NEVER if plain is None else plain

    def _remember_way(self, state: State | None, rest: int, parents: dict[State, State | None]) -> None:
        """From each state on the way, so that what was promised at its beginning is still found later on."""
        while state is not None:
            self._found[state] = min(rest, self._found.get(state, _NEVER))
            state, rest = parents[state], rest + 1

    def _pieces_for_ending(self, state: State) -> list[Piece]:
        rings = [ring[0] for ring in state.rings]
        new = next(([digit] for digit in self._digits if digit not in rings), [])
        return [*(Piece("ring", digit=digit) for digit in (*rings, *new)), *self._for_ending]

    def _advanced(self, state: State, pieces: Sequence[Piece] | None) -> State | None:
        for piece in pieces or ():
            behind = advance(state, piece, self.rule)
            if behind is None:
                return None
            state = behind
        return state


@functools.lru_cache(maxsize=8)
def _guide(vocabulary: str, rule: Rule) -> Guide:
    tokens = readable_tokens(Tokenizer.from_str(vocabulary))
    return Guide([None if token in SPECIAL_TOKENS.values() else token for token in tokens], EOS, rule)


def guide_for(tokenizer: Tokenizer, rule: Rule) -> Guide:
    """The guide for a tokenizer of training/polymers/smiles_tokenizer.py; the same one, with all it remembers, for the same vocabulary."""
    return _guide(tokenizer.to_str(), rule)


class GuidedBatch:
    """Molecules that are written side by side, each where it stands."""

    def __init__(self, guide: Guide, number: int) -> None:
        self.guide = guide
        self.places: list[Place | None] = [guide.begin()] * number

    def mask(self, room: int, device: torch.device) -> Tensor:
        """[B, V] bool: the tokens that may come next."""
        return torch.from_numpy(_with_a_way_out(self.guide, self.guide.allowed(self.places, room))).to(device)

    def follow(self, tokens: Tensor) -> None:
        """One more token [B] of each; what stands behind the end of a molecule is nobody's concern."""
        self.places = [place and self.guide.follow(place, token) for place, token in zip(self.places, tokens.tolist(), strict=True)]

    def keep(self, rows: Tensor) -> None:
        """Forget all molecules but `rows` [K] (indices)."""
        self.places = [self.places[row] for row in rows.tolist()]


class GuidedLogits:
    """A logits processor for `training.fine_tuning.generation.write` and any `generate` of transformers: -inf for tokens that may not follow.

    begin: position in `input_ids` of the first token that is written (1 for an encoder–decoder). room: the most tokens written, the end included.
    """

    def __init__(self, guide: Guide, *, begin: int, room: int) -> None:
        self.guide, self.begin, self.room = guide, begin, room
        # By what was written, so that beams may change places and batches may follow one another.
        self._places: dict[tuple[int, ...], Place | None] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores: [rows, V'] with V' at least as large as the guide's vocabulary; tokens beyond it are never written."""
        written = [tuple(row) for row in input_ids[:, self.begin :].tolist()]
        if not written[0]:
            self._places = {(): self.guide.begin()}
        self._places = {row: self._place(row) for row in written}
        mask = _with_a_way_out(self.guide, self.guide.allowed([self._places[row] for row in written], self.room - len(written[0])))
        allowed = torch.zeros(scores.shape, dtype=torch.bool)
        allowed[:, : self.guide.size] = torch.from_numpy(mask)
        return scores.masked_fill(~allowed.to(scores.device), -torch.inf)

    def _place(self, row: tuple[int, ...]) -> Place | None:
        if row in self._places:
            return self._places[row]
        before = self._places[row[:-1]]
        return before and self.guide.follow(before, row[-1])


def _with_a_way_out(guide: Guide, mask: numpy.ndarray) -> numpy.ndarray:
    """Where nothing may follow, as in a room too small for any molecule, the text ends unfinished rather than in NaN."""
    mask[~mask.any(axis=1), guide.end] = True
    return mask


def _pieces(text: str, rule: Rule) -> tuple[Piece, ...] | None:
    pieces = [read_piece(piece, rule) for piece in split_smiles(text)]
    return None if None in pieces else tuple(piece for piece in pieces if piece)
