"""Cross-entropy by chunks is that of all logits at once, gradients included, and never holds them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from training.fine_tuning import token_losses
from training.fine_tuning.examples import NO_LABEL
from training.fine_tuning.token_losses import chunk_rows, summed_cross_entropy


class Largest(TorchDispatchMode):
    """The size of the largest tensor that anything gives while it is on, in numbers."""

    numbers = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


def made(rows: int, tokens: int, width: int, vocabulary: int, seed: int, kind=torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, tokens, width, generator=random, dtype=kind).requires_grad_()
    head = torch.randn(vocabulary, width, generator=random, dtype=kind).requires_grad_()
    labels = torch.randint(0, vocabulary, (rows, tokens), generator=random)
    return hidden, head, torch.where(torch.rand(rows, tokens, generator=random) < 0.3, NO_LABEL, labels)


def all_at_once(hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return cross_entropy((hidden @ head.T).flatten(0, 1), labels.flatten(), ignore_index=NO_LABEL, reduction="sum")


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 12), st.integers(2, 40), st.integers(1, 200), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_loss_and_gradients_are_those_of_all_logits_whatever_the_chunk(rows, tokens, width, vocabulary, chunk, seed):
    inputs = made(rows, tokens, width, vocabulary, seed)
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs[:2]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_losses, "_CHUNK", chunk)
        found = summed_cross_entropy(*inputs)
        with torch.no_grad():
            assert torch.equal(summed_cross_entropy(*inputs), found)
    expected = all_at_once(*exact, inputs[2])
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-6, abs=1e-6)
    # Scaled, as a mean of it would scale them.
    slopes, wanted = torch.autograd.grad(found / 7, inputs[:2]), torch.autograd.grad(expected / 7, exact)
    for one, other in zip(slopes, wanted, strict=True):
        assert (one.double() - other).abs().max() <= 1e-6 * max(1.0, float(other.abs().max()))


def test_the_logits_of_all_tokens_are_never_there_at_once(monkeypatch):
    hidden, head, labels = made(4, 64, 8, 500, 0)
    monkeypatch.setattr(token_losses, "_CHUNK", 16 * 500)
    with Largest() as chunked:
        summed_cross_entropy(hidden, head, labels).backward()
    with Largest() as whole:
        all_at_once(hidden, head, labels).backward()
    assert (chunked.numbers, whole.numbers) == (16 * 500, 4 * 64 * 500)


def test_at_the_usual_size_a_chunk_of_gpt2s_logits_takes_64_mib():
    rows = chunk_rows(50_257, 16 * 1024)
    assert 60 < rows * 50_257 * 4 / 2**20 <= 64 and chunk_rows(2**26, 10) == 1 and chunk_rows(30, 10) == 10


def test_in_bfloat16_sums_stay_in_float32():
    hidden, head, labels = made(4, 200, 16, 60, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = summed_cross_entropy(hidden, head, labels)
    expected = all_at_once(hidden, head, labels)
    slopes, wanted = torch.autograd.grad(found, (hidden, head)), torch.autograd.grad(expected, (hidden, head))
    assert found.dtype == torch.float32 and float(found.detach()) == pytest.approx(float(expected.detach()), rel=5e-3)
    for one, other in zip(slopes, wanted, strict=True):
        assert one.dtype == torch.float32 and (one - other).norm() <= 2e-2 * other.norm()
