"""Decide train, valid or test from the hash of an item's own key, so that a new item never moves an old one to another split."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class SplitRule:
    """The fractions for valid and test (train gets the rest), and a seed that gives another draw."""

    valid_fraction: float = 0.05
    test_fraction: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.valid_fraction < 0 or self.test_fraction < 0 or self.valid_fraction + self.test_fraction >= 1:
            raise ValueError(f"valid_fraction {self.valid_fraction} and test_fraction {self.test_fraction} must be >= 0 and leave some for training")

    def split_of(self, key: str) -> str:
        """The split of whatever has this key: a molecule's id, a scaffold, a group of papers."""
        draw = int.from_bytes(hashlib.sha256(f"{self.seed}:{key}".encode()).digest()[:8]) / 2**64
        if draw < self.test_fraction:
            return "test"
        return "valid" if draw < self.test_fraction + self.valid_fraction else "train"

    def scaffold_split_of(self, scaffold: str, molecule_id: str) -> str:
        """The split of a molecule by its scaffold. One without rings has none to share, so it goes by its own id."""
        return self.split_of(f"scaffold:{scaffold}") if scaffold else self.split_of(molecule_id)
