"""Guided decoding: at each token only what can still become a molecule, for every model that writes SMILES token by token.

    python -m training.polymers.gpt.sample --model data/polygpt --number 20 --guided

What is allowed is decided in training/polymers/smiles_grammar.py, by nothing but what a text holds and the room it has left. A `Guide` turns that
into masks over a vocabulary whose tokens are pieces of SMILES or sequences of them, and remembers those of states that it has met.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy
import torch
from torch import Tensor

from training.polymers.conditions import MoleculeModelError
from training.polymers.smiles import split_smiles
from training.polymers.smiles_grammar import Piece, Rule, State, advance, beginning, fewest_to_end, may_end, read_piece
from training.polymers.smiles_tokenizer import EOS, PAD, SPECIAL_TOKENS, readable_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# More than any room: a token that may not be written.
_NEVER = 2**15 - 1
# States remembered, each of about 2 KiB; what was asked for longest ago is forgotten.
_REMEMBERED = 50_000
_NEEDED: dict[Rule, tuple[str, ...]] = {"molecule": ("C", "(", ")"), "polymer": ("C", "(", ")", "*")}


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
        # By the state alone: what is remembered cannot change what is allowed.
        self._needed = functools.lru_cache(_REMEMBERED)(self._needed_behind)
        self._behind = functools.lru_cache(_REMEMBERED)(self._state_behind)

    def begin(self) -> State:
        """Before the first token."""
        return beginning(self.rule)

    def follow(self, state: State | None, token: int) -> State | None:
        """Behind one more token; None behind the end, and behind one that was not allowed."""
        return None if state is None else self._behind(state, token)

    def allowed(self, states: Sequence[State | None], room: int) -> numpy.ndarray:
        """[B, V] bool: which tokens may follow where `room` more can be written, the end included. Nothing at None, and where a text is at a loss."""
        nothing = numpy.full(self.size, _NEVER, dtype=numpy.int16)
        return numpy.stack([nothing if state is None else self._needed(state) for state in states]) < room

    def _state_behind(self, state: State, token: int) -> State | None:
        pieces = self._pieces[token]
        return _advanced(state, pieces) if pieces else None

    def _needed_behind(self, state: State) -> numpy.ndarray:
        """By token, how many more it takes at least to end the text behind it, [V]; _NEVER for those that may not follow."""
        needed = numpy.full(self.size, _NEVER, dtype=numpy.int16)
        for pieces, tokens in self._alike.items():
            behind = _advanced(state, pieces)
            number = None if behind is None else fewest_to_end(behind)
            needed[tokens] = _NEVER if number is None else number
        if may_end(state):
            needed[self.end] = 0
        return needed


@functools.lru_cache(maxsize=8)
def _guide(vocabulary: str, rule: Rule) -> Guide:
    from tokenizers import Tokenizer

    tokens = readable_tokens(Tokenizer.from_str(vocabulary))
    return Guide([None if token in SPECIAL_TOKENS.values() else token for token in tokens], EOS, rule)


def guide_for(tokenizer: "Tokenizer", rule: Rule) -> Guide:
    """The guide for a tokenizer of training/polymers/smiles_tokenizer.py; the same one, with all it remembers, for the same vocabulary."""
    return _guide(tokenizer.to_str(), rule)


class GuidedLogits:
    """A logits processor for our loop, `training.fine_tuning.generation.write` and any `generate` of transformers: -inf for what may not follow.

    begin: position in `input_ids` of the first token that is written (1 for an encoder–decoder). room: the most tokens written, the end included.
    pad: all that is left where nothing may follow; such a text is at a loss, and stays without an end.
    """

    def __init__(self, guide: Guide, *, begin: int, room: int, pad: int = PAD) -> None:
        self.guide, self.begin, self.room, self.pad = guide, begin, room, pad
        # By what was written, so that rows may leave, beams change places and batches follow one another.
        self._states: dict[tuple[int, ...], State | None] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores: [rows, V'] with V' at least as large as the guide's vocabulary; tokens beyond it are never written."""
        written = [tuple(row) for row in input_ids[:, self.begin :].tolist()]
        if not written[0]:
            self._states = {(): self.guide.begin()}
        known = self._states
        self._states = {row: known[row] if row in known else self.guide.follow(known[row[:-1]], row[-1]) for row in written}
        mask = torch.from_numpy(self.guide.allowed([self._states[row] for row in written], self.room - len(written[0])))
        allowed = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
        allowed[:, : self.guide.size] = mask.to(scores.device)
        left = scores.masked_fill(~allowed, -torch.inf)
        left[:, self.pad] = left[:, self.pad].masked_fill(~allowed.any(dim=-1), 0.0)
        return left


def _advanced(state: State | None, pieces: Sequence[Piece]) -> State | None:
    for piece in pieces:
        state = advance(state, piece) if state is not None else None
    return state


def _pieces(text: str, rule: Rule) -> tuple[Piece, ...] | None:
    pieces = [read_piece(piece, rule) for piece in split_smiles(text)]
    return None if None in pieces else tuple(piece for piece in pieces if piece)
