"""The prompt of a PolyTAO: each wished property as a whole number of steps, in a text that the model's tokenizer reads.

Two styles. `text` is the published one (Qiu et al. 2024): `264,19,0,4`, in a fixed order, nothing between two commas where nothing is wished.
`tokens`: `<mol_wt:264><ring_count:1>`, one token for each wish, the others left out. The empty prompt wishes nothing in either.

Shapes: N molecules, P properties.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import numpy

from training.polymers.conditions import MoleculeModelError, check_known

Style = Literal["text", "tokens"]

# The published prompt and its order (Qiu et al. 2024), by the names of formats/descriptors.py, which needs rdkit.
PUBLISHED = (
    "mol_wt", "heavy_atom_count", "nhoh_count", "no_count", "num_aliphatic_carbocycles", "num_aliphatic_heterocycles",
    "num_aliphatic_rings", "num_aromatic_carbocycles", "num_aromatic_heterocycles", "num_aromatic_rings", "num_h_acceptors",
    "num_h_donors", "num_heteroatoms", "num_rotatable_bonds", "ring_count",
)  # fmt: skip
_MOST_TOKENS = 50_000  # of wishes in a vocabulary: more would be an outlier among the values, or too fine a step
_KEY = "polytao"


@dataclass(frozen=True)
class PromptForm:
    """What a model can be asked, and how it is written; part of its config.json.

    steps: by property, 1 where it says nothing. seen: least and greatest number of steps in training, by property; {} = not known.
    units: by property, of the dataset. maximum_tokens: longest molecule, its end included.
    """

    properties: tuple[str, ...] = PUBLISHED
    steps: Mapping[str, float] = field(default_factory=dict)
    style: Style = "text"
    seen: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    maximum_tokens: int = 128

    @classmethod
    def of(cls, config: Any) -> "PromptForm":
        """From the configuration of a T5; the published form where it says none, as that of the published weights does."""
        said = getattr(config, _KEY, None) or {}
        known = {item.name: said[item.name] for item in fields(cls) if item.name in said}
        for name in {"properties"} & known.keys():
            known[name] = tuple(known[name])
        return cls(**{**known, "seen": {name: tuple(ends) for name, ends in known.get("seen", {}).items()}})

    def into(self, config: Any) -> None:
        """Write it into the configuration of a T5."""
        config.update({_KEY: asdict(self)})

    def fitted(self, values: numpy.ndarray) -> "PromptForm":
        """With the range of `values` [N, P] (in the units of the dataset, NaN where missing), added to what was seen before."""
        numbers, seen = numpy.rint(values / self._steps()), {}
        for name, column in zip(self.properties, numbers.T, strict=True):
            found = column[numpy.isfinite(column)].tolist() + list(self.seen.get(name, ()))
            if found:
                seen[name] = (int(min(found)), int(max(found)))
        return replace(self, seen=seen)

    def vocabulary(self) -> list[str]:
        """The pieces that prompts are made of, beside the atoms of molecules. Raises MoleculeModelError where there would be too many."""
        if self.style == "text":
            return [*"0123456789", ",", "-"]
        widest = max(self.seen, key=lambda name: self.seen[name][1] - self.seen[name][0], default=None)
        if widest is not None and sum(high - low + 1 for low, high in self.seen.values()) > _MOST_TOKENS:
            low, high = self.ranges()[widest]
            raise MoleculeModelError(
                f"more than {_MOST_TOKENS:,} tokens of wishes: {widest} alone goes from {low:g} to {high:g} by {self.steps.get(widest, 1):g}; "
                f"raise steps.{widest}, leave the property out, or take prompt_style: text"
            )
        return [_token(name, number) for name, (low, high) in self.seen.items() for number in range(low, high + 1)]

    def ranges(self) -> dict[str, tuple[float, float]]:
        """What was seen in training, in the units of the dataset."""
        steps = {name: self.steps.get(name, 1.0) for name in self.seen}
        return {name: (low * steps[name], high * steps[name]) for name, (low, high) in self.seen.items()}

    def texts(self, values: numpy.ndarray) -> list[str]:
        """The prompts of `values` [N, P], in the units of the dataset, NaN where nothing is wished. Tokens are those nearest among the seen."""
        numbers = numpy.rint(numpy.asarray(values, dtype=numpy.float64) / self._steps())
        if self.style == "tokens":
            unseen = (numpy.nan, numpy.nan)
            ends = numpy.array([self.seen.get(name, unseen) for name in self.properties], dtype=numpy.float64)
            numbers = numpy.clip(numbers, ends[:, 0], ends[:, 1])
        return [self._text([None if numpy.isnan(number) else int(number) for number in row]) for row in numbers]

    def asked(self, requests: Sequence[Mapping[str, float]]) -> list[str]:
        """The prompts of wishes by name. Raises MoleculeModelError for a name that is not known and a value that is infinite."""
        for request in requests:
            check_known(request, self.properties)
            endless = next((name for name, value in request.items() if numpy.isinf(value)), None)
            if endless is not None:
                raise MoleculeModelError(f"{endless} is {request[endless]}, expected a finite number, or NaN for no wish")
        return self.texts(numpy.array([[request.get(name, numpy.nan) for name in self.properties] for request in requests]))

    def _text(self, numbers: Sequence[int | None]) -> str:
        if self.style == "tokens":
            return "".join(_token(name, number) for name, number in zip(self.properties, numbers, strict=True) if number is not None)
        wished = ["" if number is None else str(number) for number in numbers]
        return ",".join(wished) if any(wished) else ""

    def _steps(self) -> numpy.ndarray:
        return numpy.array([self.steps.get(name, 1.0) for name in self.properties])


def _token(name: str, number: int) -> str:
    return f"<{name}:{number}>"
