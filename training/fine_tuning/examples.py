"""What is learnt from, and in which order it is shown."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from training.loop.seeding import generator, numbers

NO_LABEL = -100  # the label of a place that is not learned, as transformers has it


class TuningError(Exception):
    """A model of words cannot be made from what is there; the message says what to change."""


class Examples(Protocol):
    """Documents, pairs or pictures by number. lengths: in tokens: what each counts as where samples are tokens, and what batches are sorted by.

    batch: as the loss wants it, on the CPU; `random` is drawn from example by example, so that a batch cut in two is masked as the whole one.
    """

    def __len__(self) -> int: ...
    def lengths(self) -> Sequence[int]: ...
    def batch(self, indices: Sequence[int], random: torch.Generator) -> dict[str, Tensor]: ...


class ExampleOrder:
    """Batches of example numbers without end: each epoch in an order of its own, its last, incomplete batch left out.

    buckets: put examples of like lengths into a batch, so that little is padded: the order is sorted in pieces of 32 batches, and these are shuffled.
    place: batches given so far; with `salt`, which a roll-back changes, all that decides the next one.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, *, buckets: bool) -> None:
        if len(lengths) < batch_size:
            raise TuningError(f"{len(lengths):,} examples to learn from are fewer than one batch of {batch_size}; lower batch_size, or find more")
        self.lengths, self.batch_size, self.seed, self.buckets = torch.tensor(lengths), batch_size, seed, buckets
        self.place, self.salt = 0, 0
        self._epoch: tuple[int, int] | None = None
        self._batches = torch.empty(0)

    def next(self) -> list[int]:
        epoch, position = divmod(self.place, len(self.lengths) // self.batch_size)
        if self._epoch != (epoch, self.salt):
            self._epoch, self._batches = (epoch, self.salt), self._shuffled(epoch)
        self.place += 1
        return numbers(self._batches[position])

    def _shuffled(self, epoch: int) -> Tensor:
        """[batches, batch_size]"""
        random, size = generator(self.seed, "order", self.salt, epoch), self.batch_size
        order = torch.randperm(len(self.lengths), generator=random)[: len(self.lengths) // size * size]
        if not self.buckets:
            return order.view(-1, size)
        pieces = order.split(32 * size)
        batches = torch.cat([piece[torch.argsort(self.lengths[piece], stable=True)] for piece in pieces]).view(-1, size)
        return batches[torch.randperm(len(batches), generator=random)]
