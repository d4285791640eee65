"""What needs no network: training molecules at random, the training molecule whose properties are nearest to the request, and an n-gram model.

Each answers the requests of a group as a model would. The first two write nothing new, which their novelty says; the third hears no request, as the
n-gram model of MOSES (Polykovskiy et al. 2020, Front. Pharmacol. 11:565644) does not.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy

from formats.molecule_tables import MoleculeTable
from training.polymers.bakeoff.config import BakeoffConfig, Baseline
from training.polymers.sample_table import SampleGroup
from training.polymers.smiles import split_smiles

_BEGIN, _END = "\n", ""


class NGram:
    """The n-gram model of some texts. order: n; the next token depends on the n - 1 before it. split: a text as its tokens."""

    def __init__(self, texts: Iterable[str], order: int, split: Callable[[str], Sequence[str]]) -> None:
        self.context = order - 1
        counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for text in texts:
            tokens = [_BEGIN] * self.context + [*split(text), _END]
            for place in range(self.context, len(tokens)):
                counts[tuple(tokens[place - self.context : place])][tokens[place]] += 1
        # No smoothing: every context that writing can come to was seen, as it is made of n-grams that were.
        self.following = {seen: (list(after), numpy.array([*after.values()], dtype=numpy.float64)) for seen, after in counts.items()}

    def write(self, random: numpy.random.Generator, *, temperature: float, most_tokens: int) -> tuple[str, bool]:
        """A text and whether it came to its end. temperature: p ** (1 / temperature), written anew; 0 takes the likeliest, by order of appearance."""
        written = [_BEGIN] * self.context
        for uniform in random.random(most_tokens):
            tokens, counts = self.following[tuple(written[len(written) - self.context :])]
            if temperature == 0:
                token = tokens[int(counts.argmax())]
            else:
                # Relative to the largest, so that no power overflows at low temperatures.
                cumulated = ((counts / counts.max()) ** (1 / temperature)).cumsum()
                token = tokens[min(int(numpy.searchsorted(cumulated, uniform * cumulated[-1], side="right")), len(tokens) - 1)]
            if token == _END:
                return "".join(written[self.context :]), True
            written.append(token)
        return "".join(written[self.context :]), False


@dataclass(frozen=True)
class Baselines:
    """Answers from the training split alone. training: with the properties that are asked for."""

    training: MoleculeTable
    config: BakeoffConfig

    def answer(self, baseline: Baseline, group: SampleGroup) -> SampleGroup | None:
        """As many molecules for the same requests as `group` has; None where nothing is asked for that it could look up."""
        random = numpy.random.default_rng([self.config.seed, len(group.smiles), round(group.temperature * 1000)])
        finished = len(group.smiles)
        if baseline == "random":
            smiles = [self.training.smiles[row] for row in random.integers(len(self.training), size=finished)]
        elif baseline == "nearest":
            if not group.requested.keys() & set(self.training.property_names):
                return None
            smiles = [self.training.smiles[row] for row in self._nearest(group)]
        else:
            longest = max(map(len, self.training.smiles))
            texts = [self._ngram.write(random, temperature=group.temperature, most_tokens=longest) for _ in group.smiles]
            smiles, finished = [text for text, _ in texts], sum(ended for _, ended in texts)
        return SampleGroup(group.mode, group.temperature, tuple(smiles), finished, group.requested)

    @cached_property
    def _ngram(self) -> NGram:
        return NGram(self.training.smiles, self.config.ngram, split_smiles if self.config.ngram_of == "atoms" else list)

    def _nearest(self, group: SampleGroup) -> list[int]:
        """For each request the training molecule at the least Euclidean distance, in standard deviations; the first of equals.

        A value that a training molecule lacks is taken for the mean, one that is not asked for does not count.
        """
        values = self.training.properties
        known = numpy.isfinite(values)
        count = numpy.maximum(known.sum(axis=0), 1)
        mean = numpy.where(known, values, 0).sum(axis=0) / count
        deviation = numpy.sqrt(numpy.where(known, (values - mean) ** 2, 0).sum(axis=0) / count)
        scale = numpy.where(deviation > 0, deviation, 1)
        places = numpy.where(known, (values - mean) / scale, 0)
        asked = numpy.stack([group.requested.get(name, numpy.full(len(group.smiles), numpy.nan)) for name in self.training.property_names], axis=1)
        wanted = (asked - mean) / scale
        return [int(numpy.nansum((places - request) ** 2, axis=1).argmin()) for request in wanted]
