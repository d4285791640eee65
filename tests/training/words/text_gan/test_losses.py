import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tests.training.words.text_gan.test_networks import CPU, random, sentences, shape
from training.gans.players import Moment
from training.loop.devices import Devices
from training.words.text_gan.config import RECIPES, BlockOptions, Recipe, TextGanConfig
from training.words.text_gan.losses import LEAST_STEPS, MOST_STEPS, AdaptiveDiffusion, TextGanLosses, discounted, likelihood
from training.words.text_gan.networks import END, PAD, Discriminator, Generator, draw_noise, words_before

NOW = Moment(5000, 3, 0)
ALL = slice(0, 8)
GUMBEL = Recipe(outputs="straight_through")
WGAN = replace(GUMBEL, penalty="wgan_gp", loss="wasserstein")


def players(**changes) -> TextGanLosses:
    config = TextGanConfig(batch_size=8, **changes)
    torch.manual_seed(0)
    noise_steps = MOST_STEPS if config.mode == "diffusion" else 0
    critic = Discriminator(BlockOptions(8, 2, 16), vocabulary_size=12, steps=6, noise_steps=noise_steps, by_word=config.play.by_word)
    return TextGanLosses(Generator(shape()), critic, sentences(40), config, Devices(CPU))


def test_the_likelihood_of_a_generator_that_knows_nothing_is_that_of_dice():
    """By hand: 3 + 6 words, each one of nine that may be written."""
    made = Generator(shape())
    with torch.no_grad():
        made.head.weight.zero_()
        made.head.bias.zero_()
    words = torch.tensor([[4, 5, END, PAD, PAD, PAD], [6, 7, 8, 9, 10, END]])
    found = likelihood(made, words, draw_noise(made.shape, 2, random(), CPU)).detach()
    assert float(found) == pytest.approx(9 * math.log(9), rel=1e-6)


def test_the_critic_reads_the_words_that_were_drawn_and_the_gradient_is_that_of_the_softmax():
    losses = players(recipe=GUMBEL)
    written = losses.written(NOW)
    read = losses.outputs(written, ALL, 0.7)
    assert torch.allclose(read, functional.one_hot(written[0], 12).float(), atol=1e-6)
    weights = torch.randn(8, 6, 12, generator=random(3))
    (found,) = torch.autograd.grad((read * weights).sum(), losses.generator.head.bias)
    losses.generator.zero_grad()
    soft = ((losses.generator(words_before(written[0]), written[1]) + written[1].choices) / 0.7).softmax(dim=-1)
    (wanted,) = torch.autograd.grad((soft * weights * (written[0] != PAD)[..., None]).sum(), losses.generator.head.bias)
    assert torch.allclose(found, wanted, atol=1e-5) and found.any()


def test_a_critic_cannot_tell_fakes_from_reals_by_how_sure_they_are():
    """The seed's penalty compared softmaxes with ones and zeros, which anything tells apart; the working recipe shows ones and zeros of both."""
    for changes, sure in (({}, True), ({"recipe": GUMBEL}, True), ({"preset": "seed"}, False)):
        losses = players(**changes)
        with torch.no_grad():
            read = losses.outputs(losses.written(NOW), ALL, 1.0)
        assert bool(((read == 0) | (read == 1)).all()) == sure
        assert torch.allclose(read.sum(dim=-1), torch.ones(8, 6), atol=1e-5)


def test_the_seeds_recipe_is_the_one_of_its_program():
    seed = players(preset="seed").recipe
    assert seed == RECIPES["seed"] and (seed.loss, seed.penalty, seed.gamma, seed.critic_steps) == ("wasserstein", "wgan_gp", 10.0, 5)
    assert (seed.outputs, seed.warm_start, seed.beta2, seed.critic_rate, seed.mle_weight) == ("soft", False, 0.9, 1e-4, 0.0)
    losses = players(preset="seed")
    # The likeliest words are fed back; nothing but the noise is random.
    assert losses.written(NOW)[1].choices is None and [phase.every for phase in losses.phases()] == [1, 5]


def test_no_gradient_flows_through_words_that_were_fed_back():
    """Detached history: what is read at step 2 moves nothing by way of the word at step 1."""
    for changes in ({"recipe": GUMBEL}, {"preset": "seed"}):
        losses = players(**changes)
        read = losses.outputs(losses.written(NOW), ALL, 1.0)
        (found,) = torch.autograd.grad(read[:, 2].square().sum(), losses.generator.words.weight, allow_unused=True)
        # Words are looked up by number: the table learns as of words read, and no softmax was multiplied into it.
        fed = set(losses.written(NOW)[0][:, :2].flatten().tolist()) | {1}
        assert set(found.abs().sum(dim=1).nonzero().flatten().tolist()) <= fed


@pytest.mark.parametrize("changes", [{}, {"preset": "seed"}, {"mode": "diffusion"}, {"recipe": GUMBEL}, {"recipe": WGAN}])
def test_both_turns_have_finite_losses_and_each_moves_its_own_player(changes):
    losses = players(**changes)
    for turn, mine in ((losses.critic_turn, losses.critic), (losses.turn, losses.generator)):
        for network in (losses.critic, losses.generator):
            network.requires_grad_(network is mine).zero_grad()
        total = torch.zeros(())
        for loss, _ in turn(NOW):
            loss.backward()
            total = total + loss.detach()
        assert torch.isfinite(total)
        unmoved = [name for name, value in mine.named_parameters() if value.grad is None or not torch.isfinite(value.grad).all()]
        assert unmoved in ([], ["score.bias"]), changes
        assert all(value.grad is None for other in (losses.critic, losses.generator) if other is not mine for value in other.parameters())


def test_a_reward_counts_for_its_own_word_and_less_for_each_before_it():
    found = discounted(torch.tensor([[1.0, 0.0, 8.0], [0.0, 4.0, 0.0]]), 0.5)
    assert found.tolist() == [[3.0, 4.0, 8.0], [2.0, 4.0, 0.0]]
    assert discounted(torch.ones(1, 3), 0.0).tolist() == [[1.0, 1.0, 1.0]]


def test_by_word_the_critic_scores_each_word_after_those_before_it():
    losses = players()
    words = losses.reals(NOW)
    changed = words.clone()
    changed[:, 3] = (changed[:, 3] - 4 + 1) % 8 + 4
    before, after = (losses.critic(losses.one_hot(some)) for some in (words, changed))
    assert before.shape == (8, 6) and torch.equal(before[:, :3], after[:, :3]) and not torch.isclose(before[:, 3], after[:, 3]).any()


def test_the_policy_gradient_makes_rewarded_words_likelier():
    """The critic is made to like one word, wherever it stands; no likelihood, and no gradient through what it reads."""
    losses = players(recipe=Recipe(mle_weight=0.0, critic_first=0, discount=0.0))

    def liking(sentences, _times=None):
        return 8 * sentences[..., 7] - 4

    losses.critic.forward = liking
    optimizer = torch.optim.Adam(losses.generator.parameters(), 0.01)
    shares = []
    for turn in range(7):
        now = Moment(turn * 8, turn, 0)
        shares.append(float((losses.written(now)[0] == 7).sum() / (losses.written(now)[0] != PAD).sum()))
        optimizer.zero_grad()
        for loss, _ in losses.turn(now):
            loss.backward()
        optimizer.step()
    assert shares[0] < 0.3 and shares[-1] > 0.8, shares


def test_the_policy_gradient_needs_a_critic_that_gives_odds():
    with pytest.raises(ValueError, match="policy_gradient needs non_saturating and r1, found wasserstein"):
        Recipe(loss="wasserstein")


def test_r1_is_the_mean_over_the_vocabulary_of_the_squared_gradient_at_reals():
    plain, punished = players(recipe=replace(GUMBEL, gamma=0.0)), players(recipe=replace(GUMBEL, gamma=3.0))
    totals = [float(sum(loss.detach() for loss, _ in losses.critic_turn(NOW))) for losses in (plain, punished)]
    real = functional.one_hot(plain.reals(NOW), 12).float().requires_grad_()
    (gradient,) = torch.autograd.grad(plain.critic(real).sum(), real)
    assert totals[1] - totals[0] == pytest.approx(1.5 / 12 * float(gradient.square().sum(dim=(1, 2)).mean()), rel=1e-3)


def test_the_generator_waits_for_the_critic():
    losses = players(recipe=Recipe(critic_first=100))
    assert list(losses.turn(Moment(99, 1, 0))) == [] and list(losses.turn(Moment(100, 2, 0))) != []


@pytest.mark.parametrize("recipe", [Recipe(), GUMBEL])
def test_training_passes_are_in_training_mode(recipe):
    """The seed's networks were in evaluation mode everywhere; here only where nothing is learnt, as in writing."""
    losses, modes = players(recipe=recipe), []
    losses.generator.register_forward_hook(lambda module, *_: modes.append((torch.is_grad_enabled(), module.training)))
    list(losses.turn(NOW))
    assert set(modes) == {(True, True), (False, False)} and losses.critic.training


def test_temperatures_go_down_in_a_geometric_line():
    config = TextGanConfig(total_sentences=100, recipe=Recipe(temperature_start=2.0, temperature_end=0.5))
    assert [config.temperature(seen) for seen in (0, 50, 100, 150)] == pytest.approx([2.0, 1.0, 0.5, 0.5])


@given(st.lists(st.floats(-1, 1), max_size=60))
def test_the_longest_diffusion_stays_in_its_bounds_and_moves_every_fourth_batch(signs):
    diffusion = AdaptiveDiffusion()
    for index, sign in enumerate(signs, 1):
        before = diffusion.steps
        diffusion.follow({"r_t": sign}, 8)
        assert LEAST_STEPS <= diffusion.steps <= MOST_STEPS and (diffusion.steps == before or index % 4 == 0)
    again = AdaptiveDiffusion()
    again.load_state_dict(diffusion.state_dict())
    assert again.follow({"r_t": 1.0}, 8) == diffusion.follow({"r_t": 1.0}, 8)


def test_the_diffusion_goes_on_while_the_critic_is_right_and_back_when_it_is_not():
    diffusion = AdaptiveDiffusion()
    for sign, steps in ((1.0, 7), (0.61, 8), (0.59, 7), (-1.0, 6)):
        for _ in range(8 if steps == 7 and sign == 1.0 else 4):
            diffusion.follow({"r_t": sign}, 8)
        assert diffusion.steps == steps


def test_a_diffused_sentence_keeps_what_the_schedule_says():
    diffusion, x = AdaptiveDiffusion(), torch.rand(3, 6, 12)
    noise = torch.randn(3, 6, 12)
    betas = [1e-4 + (0.02 - 1e-4) * step / 499 for step in range(500)]
    found = diffusion.diffuse(x, torch.tensor([0, 2, 500]), noise)
    assert torch.equal(found[0], x[0])
    for row, steps in ((1, 2), (2, 500)):
        kept = math.prod(1 - beta for beta in betas[:steps])
        assert torch.allclose(found[row], math.sqrt(kept) * x[row] + math.sqrt(1 - kept) * 0.5 * noise[row], atol=1e-5)


def test_later_steps_of_the_diffusion_are_drawn_more_often():
    times = AdaptiveDiffusion().draw_times(20_000, random())
    shares = times.bincount(minlength=6) / 20_000
    assert shares.tolist() == pytest.approx([0.5, *(0.5 * t / 15 for t in (1, 2, 3, 4, 5))], abs=0.015)
