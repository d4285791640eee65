"""Guided decoding: at each token only what can still become a molecule, for every model that writes SMILES token by token.

    python -m training.polymers.gpt.sample --model data/polygpt --number 20 --guided

What is allowed is decided in training/polymers/smiles_grammar.py, by nothing but what a text holds and the room it has left. A `Guide` turns that into
masks over a vocabulary whose tokens are pieces of SMILES or sequences of them, and remembers those of states that it has met.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.polymers.conditions import MoleculeModelError
from training.polymers.smiles import split_smiles
from training.polymers.smiles_grammar import Piece, Rule, State, advance, beginning, fewest_to_end, may_end, read_piece
from training.polymers.smiles_tokenizer import EOS, PAD, SPECIAL_TOKENS, readable_tokens

# More than any room: a token that may not be written.
_NEVER = 2**15 - 1
# States remembered; they are dropped all at once beyond it. A state takes about 2 KiB.
_REMEMBERED = 50_000
_NEEDED: dict[Rule, tuple[str, ...]] = {"molecule": ("C", "(", ")"), "polymer": ("C", "(", ")", "*")}


@dataclass(eq=False, frozen=True)
class Place:
    """Where a text stands. needed: by token, how many more it takes at least to end the text behind that token, [V]; _NEVER for those that may not
    follow. behind: the places that were asked for, by token.
    """

    state: State
    needed: numpy.ndarray
    behind: dict[int, "Place"] = field(default_factory=dict)


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
        self._places: dict[State, Place] = {}

    def begin(self) -> Place:
        """Before the first token."""
        return self._place(beginning(self.rule))

    def follow(self, place: Place | None, token: int) -> Place | None:
        """Behind one more token; None behind the end, and behind one that was not allowed."""
        if place is None or token in place.behind:
            return place and place.behind[token]
        pieces = self._pieces[token]
        state = _advanced(place.state, pieces) if pieces and place.needed[token] < _NEVER else None
        if state is None:
            return None
        place.behind[token] = self._place(state)
        return place.behind[token]

    def allowed(self, places: Sequence[Place | None], room: int) -> numpy.ndarray:
        """[B, V] bool: which tokens may follow where `room` more can be written, the end included. Nothing at None, and where a text is at a loss."""
        nothing = numpy.full(self.size, _NEVER, dtype=numpy.int16)
        return numpy.stack([nothing if place is None else place.needed for place in places]) < room

    def _place(self, state: State) -> Place:
        place = self._places.get(state)
        if place is None:
            if len(self._places) >= _REMEMBERED:
                self._places.clear()
            place = self._places[state] = Place(state, self._needed_behind(state))
        return place

    def _needed_behind(self, state: State) -> numpy.ndarray:
        needed = numpy.full(self.size, _NEVER, dtype=numpy.int16)
        open_rings, of_new_ring = {ring[0] for ring in state.rings}, None
        for pieces, tokens in self._alike.items():
            # Which number a new ring is given changes nothing.
            opens = len(pieces) == 1 and pieces[0].kind == "ring" and pieces[0].digit not in open_rings
            if opens and of_new_ring is not None:
                needed[tokens] = of_new_ring
                continue
            behind = _advanced(state, pieces)
            number = None if behind is None else fewest_to_end(behind)
            needed[tokens] = _NEVER if number is None else number
            if opens:
                of_new_ring = needed[tokens[0]]
        if may_end(state):
            needed[self.end] = 0
        return needed


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
        return torch.from_numpy(self.guide.allowed(self.places, room)).to(device)

    def follow(self, tokens: Tensor) -> None:
        """One more token [B] of each."""
        self.places = [self.guide.follow(place, token) for place, token in zip(self.places, tokens.tolist(), strict=True)]

    def keep(self, rows: Tensor) -> None:
        """Forget all molecules but `rows` [K] (indices)."""
        self.places = [self.places[row] for row in rows.tolist()]


class GuidedLogits:
    """A logits processor for `training.fine_tuning.generation.write` and any `generate` of transformers: -inf for tokens that may not follow.

    begin: position in `input_ids` of the first token that is written (1 for an encoder–decoder). room: the most tokens written, the end included.
    pad: the token of texts that are at a loss, for which nothing may follow; they stay without an end.
    """

    def __init__(self, guide: Guide, *, begin: int, room: int, pad: int = PAD) -> None:
        self.guide, self.begin, self.room, self.pad = guide, begin, room, pad
        # By what was written, so that beams may change places and batches may follow one another.
        self._places: dict[tuple[int, ...], Place | None] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores: [rows, V'] with V' at least as large as the guide's vocabulary; tokens beyond it are never written."""
        written = [tuple(row) for row in input_ids[:, self.begin :].tolist()]
        if not written[0]:
            self._places = {(): self.guide.begin()}
        self._places = {row: self._place(row) for row in written}
        mask = self.guide.allowed([self._places[row] for row in written], self.room - len(written[0]))
        allowed = torch.zeros(scores.shape, dtype=torch.bool)
        allowed[:, : self.guide.size] = torch.from_numpy(mask)
        return only_allowed(scores, allowed.to(scores.device), self.pad)

    def _place(self, row: tuple[int, ...]) -> Place | None:
        return self._places[row] if row in self._places else self.guide.follow(self._places[row[:-1]], row[-1])


def only_allowed(scores: Tensor, allowed: Tensor, pad: int) -> Tensor:
    """Scores [B, V] with -inf for what is not allowed [B, V]; where nothing is, padding is all that is left, and the text stays without an end."""
    left = scores.masked_fill(~allowed, -torch.inf)
    left[:, pad] = left[:, pad].masked_fill(~allowed.any(dim=-1), 0.0)
    return left


def _advanced(state: State | None, pieces: Sequence[Piece]) -> State | None:
    for piece in pieces:
        state = advance(state, piece) if state is not None else None
    return state


def _pieces(text: str, rule: Rule) -> tuple[Piece, ...] | None:
    pieces = [read_piece(piece, rule) for piece in split_smiles(text)]
    return None if None in pieces else tuple(piece for piece in pieces if piece)
