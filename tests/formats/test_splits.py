"""Splits by hash."""

import pytest

from formats.splits import SplitRule


def test_the_fractions_are_kept_on_the_whole():
    rule = SplitRule(0.1, 0.2, seed=0)
    splits = [rule.split_of(str(index)) for index in range(20_000)]
    assert [splits.count(name) / len(splits) for name in ("train", "valid", "test")] == pytest.approx([0.7, 0.1, 0.2], abs=0.01)


def test_all_molecules_of_a_scaffold_go_together_and_those_without_go_by_themselves():
    rule = SplitRule(0.3, 0.3, seed=0)
    assert len({rule.scaffold_split_of("c1ccccc1", str(index)) for index in range(50)}) == 1
    assert len({rule.scaffold_split_of("", str(index)) for index in range(50)}) == 3


def test_another_seed_draws_other_splits():
    one, two = SplitRule(0.3, 0.3, seed=0), SplitRule(0.3, 0.3, seed=1)
    assert [one.split_of(str(index)) for index in range(50)] != [two.split_of(str(index)) for index in range(50)]
