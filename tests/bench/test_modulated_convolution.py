"""Three ways to the same convolution: what is timed is equal first, and what is counted is what operations read and write."""

import pytest
import torch

from bench import modulated_convolution
from bench.modulated_convolution import Shape, Work, compare, grouped

CPU = torch.device("cpu")


@pytest.mark.parametrize("kernel", [1, 3])
def test_all_ways_agree_and_are_counted(kernel):
    ways = compare(Shape(2, 8, 12, kernel), device=CPU, dtype=torch.float32, rounds=1)["ways"]
    assert len(ways) == 6 and all(way["ms"] > 0 and way["launches"] > 10 and way["mb"] > 0 for way in ways.values())


def test_a_way_that_disagrees_is_not_timed(monkeypatch):
    monkeypatch.setitem(modulated_convolution.WAYS, "gemm", lambda *given: 1.01 * grouped(*given))
    with pytest.raises(ArithmeticError, match="gemm, channels last: output differ .* no speed is reported"):
        compare(Shape(2, 8, 12, 1), device=CPU, dtype=torch.float32, rounds=1)


def test_an_operation_reads_its_operands_and_writes_its_result_and_a_view_does_neither():
    x, y = torch.ones(10, 10), torch.ones(1, 10)
    with Work() as work:
        (x.T + y.expand(10, 10)).T[0]
    assert (work.launches, work.bytes) == (1, 4 * (100 + 10 + 100))
