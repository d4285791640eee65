"""Molecules as token sequences, and the batches of each epoch, which depend on (seed, phase, epoch, position) and nothing else.

So the place in the data is three small numbers, and a training that resumes sees exactly the batches it would have seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from formats.molecule_tables import MoleculeTable
from stages.derived_seed import derive_seed
from training.loop.devices import moved
from training.loop.seeding import generator, numbers
from training.polymers.smiles import spell_all
from training.polymers.smiles_tokenizer import BOS, PAD, UNK

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Batches are cut from windows of this many batches, sorted by length: little padding, and still a different batch each epoch.
_BUCKET_BATCHES = 16


@dataclass(frozen=True)
class Batch:
    """B molecules of one batch, or one process's share of it.

    tokens: [B, T] int64, <bos> … <eos>, then <pad>. lengths: [B] tokens without <pad>. properties: [B, P] true values in standard deviations.
    wanted: [B, P] what the model is asked for: true values, perturbed. Masks: True where there is a value (elsewhere it may be NaN).
    conditional: whether properties are given at all (fine-tuning), even where this share has none.
    """

    tokens: Tensor
    lengths: Tensor
    properties: Tensor
    properties_mask: Tensor
    wanted: Tensor
    wanted_mask: Tensor
    conditional: bool

    def to(self, device: torch.device) -> "Batch":
        return self._map(lambda tensor: moved(tensor, device))

    def share(self, rank: int, world_size: int) -> "Batch":
        """Every `world_size`-th molecule. A process without any gets one that counts for nothing: it must take part in each step."""
        if world_size == 1:
            return self
        if rank < len(self.tokens):
            return self._map(lambda tensor: tensor[rank::world_size])
        idle = self._map(lambda tensor: tensor[:1].clone())
        idle.tokens[:, 1:] = PAD
        idle.properties_mask[:] = False
        idle.wanted_mask[:] = False
        return idle

    def denominators(self) -> "Denominators":
        """Raises ValueError for a batch that has been moved to a device, which would have to be waited for."""
        counts = [(self.tokens[:, 1:] != PAD).sum(), self.properties_mask.sum(), self.wanted_mask.sum()]
        return Denominators(*(max(1, count) for count in numbers(torch.stack(counts))))

    def _map(self, function: Any) -> "Batch":
        names = ("tokens", "lengths", "properties", "properties_mask", "wanted", "wanted_mask")
        return replace(self, **{name: function(getattr(self, name)) for name in names})


@dataclass(frozen=True)
class Denominators:
    """What sums are divided by, counted over the whole batch: next tokens, true property values, wanted property values."""

    tokens: int
    properties: int
    wanted: int


@dataclass(frozen=True)
class TrainingSet:
    """N molecules, each with one or more spellings.

    tokens: all spellings behind one another. starts: [M + 1] where each spelling begins. first_spelling: [N + 1] index of each molecule's canonical
    spelling, its random ones follow. properties: [N, P] float32 in standard deviations, NaN where missing.
    set_aside: molecules left out, by reason. unusable_spellings: random spellings left out for the same reasons.
    """

    tokens: numpy.ndarray
    starts: numpy.ndarray
    first_spelling: numpy.ndarray
    properties: numpy.ndarray
    set_aside: dict[str, int]
    unusable_spellings: int = 0

    def __len__(self) -> int:
        return len(self.first_spelling) - 1

    def spelling_of(self, epoch: int) -> numpy.ndarray:
        """[N] the spelling of each molecule in `epoch`: each in turn, molecules out of step with each other."""
        counts = numpy.diff(self.first_spelling)
        return self.first_spelling[:-1] + (epoch + numpy.arange(len(self))) % counts

    def drawn(self, number: int, seed: int) -> "TrainingSet":
        """At most `number` of the molecules, drawn at random, each with its canonical spelling alone."""
        rows = numpy.sort(numpy.random.default_rng(seed).permutation(len(self))[:number])
        spellings = self.first_spelling[rows]
        lengths = self.starts[spellings + 1] - self.starts[spellings]
        tokens = [self.tokens[start : start + length] for start, length in zip(self.starts[spellings], lengths, strict=True)]
        return replace(
            self,
            tokens=numpy.concatenate([self.tokens[:0], *tokens]),
            starts=numpy.cumsum([0, *lengths]),
            first_spelling=numpy.arange(len(rows) + 1),
            properties=self.properties[rows],
        )


def build_training_set(
    tables: Sequence[MoleculeTable],
    tokenizer: "Tokenizer",
    *,
    maximum_tokens: int,
    mean: numpy.ndarray,
    std: numpy.ndarray,
    spellings: int = 0,
    seed: int = 0,
    processes: int = 1,
) -> TrainingSet:
    """Encode the molecules of `tables`; those with an out-of-vocabulary token or more than `maximum_tokens` tokens are set aside and counted.

    spellings: random spellings to add to each molecule. mean, std: [P] in the units of the tables.
    """
    # Which molecules can be written at all: judged by their canonical spelling.
    molecules = [smiles for table in tables for smiles in table.smiles]
    properties = numpy.concatenate([(table.properties - mean) / std for table in tables]).astype(numpy.float32)
    canonical = _encode(tokenizer, molecules)
    reasons = [_unusable(ids, maximum_tokens) for ids in canonical]
    kept = [index for index, reason in enumerate(reasons) if reason is None]

    # Random spellings teach what a molecule is apart from how it is written (Bjerrum 2017); some are too long where the canonical one is not.
    others: list[list[numpy.ndarray]] = [[] for _ in kept]
    unusable = 0
    if spellings:
        spelled = spell_all([molecules[index] for index in kept], count=spellings, seed=derive_seed(seed, "spelling"), processes=processes)
        flat = iter(_encode(tokenizer, [text for texts in spelled for text in texts]))
        encoded = [[next(flat) for _ in texts] for texts in spelled]
        others = [[ids for ids in group if _unusable(ids, maximum_tokens) is None] for group in encoded]
        unusable = sum(map(len, encoded)) - sum(map(len, others))

    # All in a few arrays: millions of small ones would take many times the memory.
    groups = [[canonical[index], *more] for index, more in zip(kept, others, strict=True)]
    sequences = [ids for group in groups for ids in group]
    return TrainingSet(
        tokens=numpy.concatenate(sequences) if sequences else numpy.zeros(0, dtype=numpy.int32),
        starts=numpy.cumsum([0, *map(len, sequences)]),
        first_spelling=numpy.cumsum([0, *map(len, groups)]),
        properties=properties[kept],
        set_aside={reason: reasons.count(reason) for reason in ("out_of_vocabulary", "too_long")},
        unusable_spellings=unusable,
    )


@dataclass
class SaltedStream:
    """A stream whose batches follow from how much was seen, from its seeds and from `salt`: changed after a rollback, so that the same bad sequence
    of batches does not come again.
    """

    salt: int = field(default=0, kw_only=True)

    def state_dict(self) -> dict[str, int]:
        return {"salt": self.salt}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.salt = state["salt"]


@dataclass
class BatchStream(SaltedStream):
    """Batches without end. Its whole state is (epoch, position, salt).

    conditional: give perturbed properties. noise: standard deviation of the perturbation, in standard deviations of the property.
    condition_dropout: share of molecules shown without properties, so that the model still writes unasked, and again as many with each property
    given or not by the toss of a coin, so that it also writes when asked for some of them.
    """

    data: TrainingSet
    batch_size: int
    seed: int
    phase: str
    conditional: bool = False
    noise: float = 0.0
    condition_dropout: float = 0.0
    epoch: int = 0
    position: int = 0

    def __post_init__(self) -> None:
        self._planned: tuple[int, int] | None = None
        self._plan: list[numpy.ndarray] = []
        self._spelling = numpy.zeros(0, dtype=numpy.int64)

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "position": self.position, **super().state_dict()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        super().load_state_dict(state)
        self.epoch, self.position = state["epoch"], state["position"]

    def next(self, *, at_most: int) -> Batch:
        """The next batch, cut to `at_most` molecules where the budget ends inside it."""
        if self._planned != (self.epoch, self.salt):
            self._planned = (self.epoch, self.salt)
            self._spelling = self.data.spelling_of(self.epoch)
            self._plan = self._epoch_plan()
        rows = self._plan[self.position][:at_most]
        batch = self._batch(rows)
        self.position += 1
        if self.position == len(self._plan):
            self.epoch, self.position = self.epoch + 1, 0
        return batch

    def _epoch_plan(self) -> list[numpy.ndarray]:
        """The rows of each batch of this epoch: shuffled, cut into windows, sorted by length within a window, batches shuffled again."""
        # One private generator for both shuffles, named by what the plan depends on.
        random = generator(self.seed, "order", self.phase, self.epoch, self.salt)
        order = numpy.array(numbers(torch.randperm(len(self.data), generator=random)), dtype=numpy.int64)
        lengths = numpy.diff(self.data.starts)[self._spelling]
        window = self.batch_size * _BUCKET_BATCHES
        batches = []
        for start in range(0, len(order), window):
            rows = order[start : start + window]
            # A stable sort, so that equal lengths stay in their shuffled order on every machine.
            rows = rows[numpy.argsort(lengths[rows], kind="stable")]
            batches += [rows[cut : cut + self.batch_size] for cut in range(0, len(rows), self.batch_size)]
        return [batches[index] for index in numbers(torch.randperm(len(batches), generator=random))]

    def _batch(self, rows: numpy.ndarray) -> Batch:
        # wanted = p + e with e normal: the model is asked for something near the truth, and its heads must tell e (losses.py).
        properties = torch.from_numpy(self.data.properties[rows])
        present = ~properties.isnan()
        random = generator(self.seed, "noise", self.phase, self.epoch, self.position, self.salt)
        wanted = properties + self.noise * torch.randn(properties.shape, generator=random)
        # Some molecules are shown without a wish (Ho and Salimans 2022, classifier-free guidance), some with a part of it.
        share = torch.rand(len(rows), 1, generator=random)
        coins = torch.rand(properties.shape, generator=random) < 0.5
        asked = (share >= 2 * self.condition_dropout) | ((share >= self.condition_dropout) & coins)
        wanted_mask = present & asked if self.conditional else torch.zeros_like(present)
        tokens, lengths = pad(self.data, self._spelling[rows])
        return Batch(tokens, lengths, properties, present, wanted, wanted_mask, self.conditional)


def pad(data: TrainingSet, spellings: numpy.ndarray) -> tuple[Tensor, Tensor]:
    """The sequences `spellings` as tokens [B, T] filled up with <pad>, and their lengths [B]."""
    starts, ends = data.starts[spellings], data.starts[spellings + 1]
    lengths = ends - starts
    tokens = numpy.full((len(spellings), int(lengths.max())), PAD, dtype=numpy.int64)
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        tokens[row, : end - start] = data.tokens[start:end]
    return torch.from_numpy(tokens), torch.from_numpy(lengths.astype(numpy.int64))


def property_scale(tables: Sequence[MoleculeTable]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Mean and standard deviation [P] of the values present in `tables`; (0, 1) for a property without any, and never a zero deviation."""
    values = numpy.concatenate([table.properties for table in tables])
    present = ~numpy.isnan(values)
    counts = numpy.maximum(present.sum(axis=0), 1)
    mean = numpy.where(present, values, 0.0).sum(axis=0) / counts
    std = numpy.sqrt((numpy.where(present, values - mean, 0.0) ** 2).sum(axis=0) / counts)
    return mean, numpy.where(std > 0, std, 1.0)


def _encode(tokenizer: "Tokenizer", molecules: list[str]) -> list[numpy.ndarray]:
    """Token ids of each molecule. In pieces: an `Encoding` takes kilobytes, the ids some dozens of bytes."""
    sequences = []
    for start in range(0, len(molecules), 10_000):
        sequences += [numpy.array(encoding.ids, dtype=numpy.int32) for encoding in tokenizer.encode_batch(molecules[start : start + 10_000])]
    return sequences


def _unusable(ids: numpy.ndarray, maximum_tokens: int) -> str | None:
    assert ids[0] == BOS, f"a sequence begins with token {ids[0]}, expected <bos>"
    if UNK in ids:
        return "out_of_vocabulary"
    return "too_long" if len(ids) > maximum_tokens else None
