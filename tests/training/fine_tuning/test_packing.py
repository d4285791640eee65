"""Packed documents: nothing is lost or doubled, and none knows of another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from training.fine_tuning.packing import NO_LABEL, causal_loss, document_mask, pack
from training.fine_tuning.trainer import FILLERS
from training.loop.compiling import padded

PAD = 1
DOCUMENTS = st.lists(st.lists(st.integers(2, 40), min_size=1, max_size=9), min_size=1, max_size=12)


def documents_of(packed: dict[str, torch.Tensor]) -> list[list[int]]:
    return [
        row[numbers == number].tolist()
        for row, numbers in zip(packed["input_ids"], packed["documents"], strict=True)
        for number in range(1, int(numbers.max()) + 1)
    ]


@given(DOCUMENTS, st.integers(9, 20))
def test_rows_hold_every_document_once_and_whole_with_positions_of_its_own(documents, row_tokens):
    packed = pack(documents, row_tokens, PAD)
    assert sorted(documents_of(packed)) == sorted(documents)
    assert packed["input_ids"].shape[1] <= row_tokens
    is_token = packed["documents"] > 0
    assert (packed["input_ids"][~is_token] == PAD).all() and (packed["labels"][~is_token] == NO_LABEL).all()
    # A document's first token follows from nothing; all others are asked for.
    assert torch.equal(packed["labels"] == NO_LABEL, ~is_token | (packed["position_ids"] == 0))


@given(DOCUMENTS)
def test_without_packing_each_document_has_its_own_row_in_the_given_order(documents):
    assert documents_of(pack(documents, 0, PAD)) == documents


def test_a_token_sees_its_own_document_up_to_itself():
    mask = document_mask(torch.tensor([[1, 1, 2, 2, 0]]))[0, 0]
    assert (mask == 0).int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_logits_equal_those_of_each_document_alone(attention):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0)).eval()
    model.set_attn_implementation(attention)
    documents = [torch.randint(2, 50, (length,)).tolist() for length in (7, 3, 11, 5, 2, 9)]
    packed = pack(documents, 16, PAD)
    with torch.no_grad():
        logits = model(packed["input_ids"], attention_mask=document_mask(packed["documents"]), position_ids=packed["position_ids"]).logits
        for row, numbers in enumerate(packed["documents"]):
            for number in range(1, int(numbers.max()) + 1):
                is_member = numbers == number
                alone = model(packed["input_ids"][row, is_member][None]).logits[0]
                assert torch.allclose(logits[row, is_member], alone, atol=1e-5, rtol=0)
        sums = [causal_loss(model, pack(documents, row_tokens, PAD)) for row_tokens in (0, 11, 37)]
    assert all(int(number) == sum(map(len, documents)) - len(documents) for _, number in sums)
    assert torch.allclose(torch.stack([total for total, _ in sums]), sums[0][0], rtol=1e-5)


@torch.no_grad()
def test_the_loss_is_that_of_a_hand_computed_row():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=8, n_layer=1, n_head=1, n_positions=8, bos_token_id=0, eos_token_id=0)).eval()
    batch = pack([[2, 3, 4]], 0, PAD)
    total, number = causal_loss(model, batch)
    log_p = model(torch.tensor([[2, 3, 4]])).logits[0].log_softmax(dim=-1)
    assert int(number) == 2 and float(total) == pytest.approx(-float(log_p[0, 3] + log_p[1, 4]), rel=1e-5)


def small_gpt2(**changes) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 32, "bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(**{**sizes, **changes})).eval()


@torch.no_grad()
def test_what_is_padded_to_few_sizes_has_the_same_loss():
    batch = pack([torch.randint(2, 50, (length,)).tolist() for length in (7, 3, 11, 5, 2, 9)], 11, PAD)
    wider = padded(batch, FILLERS, rows=True)
    assert wider["input_ids"].shape == (8, 16)
    for one, other in zip(causal_loss(small_gpt2(), batch), causal_loss(small_gpt2(), wider), strict=True):
        assert float(one) == pytest.approx(float(other), rel=1e-5)
