"""Attention by borders: the same as with a mask over whole rows, from fewer scores; and chosen only where it works."""

import inspect
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import GPT2Config, GPT2LMHeadModel

from stages.reporting import Reporter
from tests.training.fine_tuning.test_packing import DOCUMENTS, PAD
from tests.training.fine_tuning.test_trainer import CPU, assert_close, titles
from training.fine_tuning import packing
from training.fine_tuning.options import FineTuning
from training.fine_tuning.packing import attention_scores, bordered, causal_loss, choose_attention, pack
from training.fine_tuning.trainer import FILLERS, FineTuner, Task
from training.loop.compiling import padded

GPU = torch.device("cuda")


class Kernel:
    """Stands for the GPU's kernel, with its signature, on the CPU; counts the scores that it computes."""

    def __init__(self) -> None:
        self.scores = self.calls = 0

    def __call__(self, *arguments, **named):
        asked = inspect.signature(varlen_attn).bind(*arguments, **named).arguments
        assert asked["window_size"] == (-1, 0) and asked["cu_seq_q"].dtype == torch.int32 and asked["cu_seq_q"] is asked["cu_seq_k"]
        borders, tokens = asked["cu_seq_q"].tolist(), len(asked["query"])
        assert borders[0] == 0 and borders[-1] == tokens and borders == sorted(borders)
        self.calls += 1
        mixed = []
        for start, end in pairwise(borders):
            assert end - start <= asked["max_q"] == asked["max_k"]
            self.scores += (end - start) ** 2
            # Heads first, as the usual attention has them.
            parts = (asked[name][start:end].transpose(0, 1) for name in ("query", "key", "value"))
            mixed.append(scaled_dot_product_attention(*parts, is_causal=True, scale=asked.get("scale")).transpose(0, 1))
        return torch.cat(mixed)


@pytest.fixture
def kernel(monkeypatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(packing, "varlen_attn", made)
    return made


def gpt2(**changes) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32, "bos_token_id": 0, "eos_token_id": 0, **changes}
    return GPT2LMHeadModel(GPT2Config(**sizes, **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)))


def by_borders(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """As `choose_attention` leaves it on a GPU."""
    model.set_attn_implementation(packing._BY_BORDERS)
    return model


def loss_and_gradients(model: GPT2LMHeadModel, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    total, _ = causal_loss(model, batch)
    total.backward()
    return total.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


@settings(deadline=None, max_examples=12)
@given(DOCUMENTS, st.sampled_from([0, 9, 13, 30]), st.booleans())
def test_losses_and_gradients_are_those_with_a_mask_and_scores_the_squares_of_lengths(documents, row_tokens, is_padded):
    batch, kernel = pack(documents, row_tokens, PAD), Kernel()
    if is_padded:
        batch = padded(batch, FILLERS, rows=True)
    dense, dense_gradients = loss_and_gradients(gpt2(), batch)
    model = by_borders(gpt2())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "varlen_attn", kernel)
        total, gradients = loss_and_gradients(model, bordered(model, batch))
    assert torch.allclose(total, dense, rtol=1e-5)
    assert_close(gradients, dense_gradients, rtol=1e-5)
    layers = model.config.n_layer
    few, many = attention_scores(batch["documents"])
    pads = [int((row == 0).sum()) for row in batch["documents"]]
    assert (kernel.calls, kernel.scores) == (layers, layers * few)
    assert few == sum(len(document) ** 2 for document in documents) + sum(pad**2 for pad in pads) <= many == len(pads) * batch["labels"].shape[1] ** 2


def test_a_training_by_borders_is_the_one_with_a_mask_and_writes_as_ever(kernel):
    def tuner(model, attention) -> FineTuner:
        config = FineTuning(batch_size=12, dropout=0.0, learning_rate=1e-2, total_samples=5000, ema_half_life_samples=100)
        return FineTuner(Task(model, titles(24), titles(8, 5), causal_loss, buckets=False, attention=attention), config, CPU, Reporter())

    dense, fused = tuner(gpt2(), None), tuner(gpt2(), lambda model, *_: by_borders(model) and "by borders")
    for _ in range(4):
        losses = [float(one.step().values["loss"]) for one in (dense, fused)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    # But for the keys' biases, of which nothing depends: AdamW makes steps of what rounding leaves of their gradients.
    weights = [{name: one for name, one in tuned.model.state_dict().items() if "c_attn.bias" not in name} for tuned in (fused, dense)]
    assert_close(*weights, rtol=1e-3)
    judged = [one.evaluate(one.judged_model())["validation_loss"] for one in (dense, fused)]
    assert judged[1] == pytest.approx(judged[0], rel=1e-4)
    calls = kernel.calls
    assert calls >= 5 * 2
    prompts = torch.tensor([[3, 4, 5]])
    written = [one.model.eval().generate(prompts, max_new_tokens=6, do_sample=False, pad_token_id=1).tolist() for one in (dense, fused)]
    assert written[0] == written[1] and kernel.calls == calls
    assert "by_borders" not in str(fused.model.config.to_dict())


def test_torchs_own_operator_takes_what_it_is_given_and_gives_gradients():
    """Shapes and types alone, without numbers: there is no GPU."""
    batch = bordered(by_borders(gpt2()), pack([[2, 3, 4], [5, 6], [7] * 9], 12, PAD))
    with FakeTensorMode(allow_non_fake_inputs=True) as fakes:
        model = by_borders(gpt2())
        total, _ = causal_loss(model, {name: fakes.from_tensor(one) for name, one in batch.items()})
        total.backward()
        assert all(parameter.grad is not None and parameter.grad.shape == parameter.shape for parameter in model.parameters())


class Recorded(Exception):
    """Raised by a compiler that only looks at the graph."""


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated:DeprecationWarning")
def test_the_compiler_has_the_loss_in_one_graph_with_torchs_own_operator():
    names = list[str]()

    def look(graph, _):
        names.extend(str(node.target) for node in graph.graph.nodes)
        raise Recorded

    model = by_borders(gpt2(n_layer=1))
    compiled = torch.compile(causal_loss, backend=look, fullgraph=True)
    with pytest.raises(Exception, match="Recorded"):
        compiled(model, bordered(model, pack([[2, 3, 4], [5, 6], [7] * 9], 12, PAD)))
    assert any("varlen_attn" in name for name in names)


def test_few_sizes_of_borders_come_however_many_documents_do():
    model = by_borders(gpt2())
    sizes = {len(bordered(model, pack([[2, 3, 4]] * number, 30, PAD))["borders"]) for number in range(1, 65)}
    assert len(sizes) <= 24 and all(size % 8 == 0 for size in sizes)


@pytest.mark.parametrize(
    ("changes", "device", "precision", "why"),
    [
        ({}, torch.device("cpu"), "auto", "this is cpu"),
        ({}, GPU, "float32", "precision: bfloat16"),
        ({"attn_pdrop": 0.1}, GPU, "auto", "dropout: 0"),
        ({"model_type": "llama"}, GPU, "auto", "this is llama"),
        # A torch without CUDA, as it says itself.
        ({}, GPU, "auto", "fails here"),
    ],
)
def test_where_it_cannot_be_had_the_mask_stays_and_the_log_says_why(changes, device, precision, why):
    model = gpt2()
    for name, value in changes.items():
        setattr(model.config, name, value)
    if device == GPU and torch.cuda.is_available() and not changes and precision == "auto":
        pytest.skip("here is a GPU")
    said = choose_attention(model, device, precision)
    assert "with a mask" in said and why in said and model.config._attn_implementation == "sdpa"
    assert "borders" not in bordered(model, pack([[2, 3]], 0, PAD))


def test_where_it_works_it_is_chosen_after_a_trial_and_said(monkeypatch, kernel):
    tried, model = packing._failure, gpt2()
    monkeypatch.setattr(packing, "_failure", lambda config, _: tried(config, CPU.device))
    assert "fused attention" in choose_attention(model, GPU, "auto") and kernel.calls == 1
    assert model.config._attn_implementation == packing._BY_BORDERS
