"""The three-term loss against sums done by hand, and who learns from which term."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.training.polymers.gpt.test_networks import SHAPE
from training.polymers.batches import Batch, Denominators
from training.polymers.gpt.losses import LossWeights, masked_squared_error, polygpt_losses
from training.polymers.gpt.networks import PolyGPT

NAN = float("nan")


@pytest.fixture
def model() -> PolyGPT:
    torch.manual_seed(3)
    return PolyGPT(SHAPE).eval()


def batch(conditional: bool = True) -> Batch:
    """Three molecules of 6, 4 and 5 tokens; the second has one property, the third is shown without properties."""
    tokens = torch.tensor([[1, 5, 6, 7, 8, 2], [1, 9, 10, 2, 0, 0], [1, 5, 5, 5, 2, 0]])
    properties = torch.tensor([[0.5, -1.0], [2.0, NAN], [0.1, 0.2]])
    wanted = torch.tensor([[0.6, -1.3], [1.9, NAN], [0.0, 0.0]])
    present = ~properties.isnan()
    wanted_mask = present & torch.tensor([[True], [True], [False]]) if conditional else torch.zeros_like(present)
    return Batch(tokens, torch.tensor([6, 4, 5]), properties, present, wanted, wanted_mask, conditional)


def number(value: torch.Tensor | float) -> float:
    return float(value.detach()) if isinstance(value, torch.Tensor) else float(value)


WEIGHTS = LossWeights(1.0, 0.5, 0.25)


def losses(model: PolyGPT, data: Batch, weights: LossWeights = WEIGHTS):
    return polygpt_losses(model, data, weights, data.denominators())


def test_counts_leave_out_padding_and_missing_values():
    assert batch().denominators() == Denominators(tokens=5 + 3 + 4, properties=5, wanted=3)


def test_cross_entropy_is_the_mean_over_real_next_tokens(model):
    data = batch()
    logits = model.logits(model(data.tokens, model.property_embedding(data.wanted, data.wanted_mask))).log_softmax(dim=-1)
    # Position 0 is the prefix; the token at t is predicted at position t, which has seen tokens up to t - 1.
    by_hand = [-logits[row, t, data.tokens[row, t]] for row, length in enumerate((6, 4, 5)) for t in range(1, length)]
    assert number(losses(model, data).cross_entropy) == pytest.approx(number(torch.stack(by_hand).mean()), rel=1e-5)


def told(model: PolyGPT, data: Batch) -> list[torch.Tensor]:
    """What the heads tell of each molecule, one at a time and without its padding."""
    prefix = model.property_embedding(data.wanted, data.wanted_mask)
    hidden = [model(data.tokens[row : row + 1, :length], prefix[row : row + 1]) for row, length in enumerate((6, 4, 5))]
    # The states that have read an atom or <eos>: neither the prefix's nor that of <bos>.
    return [model.auxiliary_heads(states[:, 2:], torch.ones(1, states.shape[1] - 2, dtype=torch.bool))[0] for states in hidden]


def test_auxiliary_heads_are_judged_by_what_each_molecule_has_asked_for_or_not(model):
    data = batch()
    first, second, third = told(model, data)
    by_hand = (first[0] - 0.5) ** 2 + (first[1] + 1.0) ** 2 + (second[0] - 2.0) ** 2 + (third[0] - 0.1) ** 2 + (third[1] - 0.2) ** 2
    assert number(losses(model, data).auxiliary) == pytest.approx(number(by_hand) / 5, rel=1e-4)


def test_alignment_compares_the_expected_molecule_with_what_was_wanted(model):
    data = batch()
    hidden = model(data.tokens, model.property_embedding(data.wanted, data.wanted_mask))
    by_hand = 0.0
    for row, length, columns in ((0, 6, (0, 1)), (1, 4, (0,))):
        distributions = model.logits(hidden[row : row + 1, 1:length]).softmax(dim=-1)
        expected = model.predictor(distributions, torch.ones(1, length - 1, dtype=torch.bool))[0]
        by_hand += sum(number((expected[column] - data.wanted[row, column]) ** 2) for column in columns)
    assert number(losses(model, data).align) == pytest.approx(by_hand / 3, rel=1e-4)


def test_the_total_is_the_weighted_sum_and_the_predictors_own_error(model):
    parts = losses(model, batch(), LossWeights(2.0, 0.5, 0.25))
    by_hand = 2.0 * parts.cross_entropy + 0.5 * parts.auxiliary + 0.25 * parts.align + parts.predictor
    assert number(parts.total) == pytest.approx(number(by_hand), rel=1e-6)


def test_the_predictor_reads_a_one_hot_distribution_like_a_token(model):
    tokens, real = batch().tokens[:, 1:], batch().tokens[:, 1:] != 0
    one_hot = functional.one_hot(tokens, SHAPE.vocabulary_size).float()
    assert torch.allclose(model.predictor(one_hot, real), model.predictor(tokens, real), atol=1e-6)


def test_padding_does_not_change_a_prediction(model):
    tokens = torch.tensor([[5, 6, 7, 2]])
    padded = torch.tensor([[5, 6, 7, 2, 0, 0, 0]])
    short, long = model.predictor(tokens, tokens != 0), model.predictor(padded, padded != 0)
    assert torch.allclose(short, long, atol=1e-6)


def gradients_of(model: PolyGPT, loss: torch.Tensor) -> set[str]:
    model.zero_grad()
    loss.backward()
    return {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.abs().sum() > 0}


def test_alignment_teaches_the_transformer_and_leaves_the_predictor_alone(model):
    touched = gradients_of(model, losses(model, batch()).align)
    assert {"token_embedding", "blocks", "property_encoder"} <= touched and "predictor" not in touched


def test_the_predictor_learns_from_true_molecules_and_leaves_the_transformer_alone(model):
    assert gradients_of(model, losses(model, batch()).predictor) == {"predictor"}


def test_pre_training_teaches_next_tokens_and_what_molecules_have_and_asks_for_nothing(model):
    parts = losses(model, batch(conditional=False))
    assert number(parts.auxiliary) > 0 and number(parts.align) == 0.0
    touched = gradients_of(model, parts.total)
    assert touched == {"token_embedding", "position_embedding", "blocks", "final_norm", "auxiliary_heads", "predictor"}


def test_what_is_masked_may_be_anything():
    predicted = nn.Parameter(torch.tensor([[1.0, 2.0]]))
    error = masked_squared_error(predicted, torch.tensor([[3.0, NAN]]), torch.tensor([[True, False]]))
    error.backward()
    assert number(error) == 4.0 and predicted.grad.tolist() == [[-4.0, 0.0]]


def test_shares_of_a_batch_add_up_to_the_whole(model):
    data = batch()
    whole = losses(model, data)
    for world_size in (2, 4):
        parts = [polygpt_losses(model, data.share(rank, world_size), LossWeights(1, 0.5, 0.25), data.denominators()) for rank in range(world_size)]
        for name in ("total", "cross_entropy", "auxiliary", "align", "predictor", "accuracy"):
            assert number(sum(getattr(part, name) for part in parts)) == pytest.approx(number(getattr(whole, name)), rel=1e-4, abs=1e-7)
