"""Schedules and samplers: the numbers of diffusers, and a known distribution reproduced from its exact score."""

import importlib
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.metrics.wasserstein import wasserstein_distance
from training.polymers.ldm.samplers import denoise_by, guided, sample_ddim, sample_ddpm
from training.polymers.ldm.schedule import noise_schedule

START = torch.tensor([[0.5, -1.0], [1.5, 0.25]], dtype=torch.float64)
NOISE = torch.randn(1000, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
IN_DIFFUSERS = {"linear": "linear", "cosine": "squaredcos_cap_v2", "epsilon": "epsilon", "v": "v_prediction"}
# What diffusers' schedulers (0.40.0.dev0 at 58eb52c0, in float64) make of START with the network below, NOISE, 1,000 steps, trailing, x_0 within 3.
GOLDEN = {
    ("linear", "epsilon", 10, 0.0): [[2.6080432914016876, -2.741195593183723], [3.0, 0.8378611832392061]],
    ("linear", "epsilon", 10, 0.5): [[-2.2449803981153327, -2.3134999724322536], [1.056996254160887, 1.5415754993718567]],
    ("linear", "epsilon", 1000, None): [[1.4922332614140383, -0.19640265858266945], [-0.013263425525078275, -2.90148548743494]],
    ("linear", "v", 10, 0.0): [[0.1333660219003765, -0.6610393777040066], [0.7220421062050095, -0.008590675897078875]],
    ("linear", "v", 10, 0.5): [[-0.3341889732897716, -0.4565935204315271], [-0.38660139037806623, -0.6251881070915287]],
    ("linear", "v", 1000, None): [[-0.18224188383013884, -0.5349352759227767], [-0.3667943315319805, -1.4872084593073365]],
    ("cosine", "epsilon", 10, 0.0): [[2.4574746049872154, -2.8405859679324137], [3.0, 1.9575406450919979]],
    ("cosine", "epsilon", 10, 0.5): [[-1.9279122447074537, -2.633720348978771], [1.8579559725189843, 2.075228978927795]],
    ("cosine", "epsilon", 1000, None): [[0.8025806788819009, -0.8121168088492924], [-0.9562558031600101, -0.8250514801461245]],
    ("cosine", "v", 10, 0.0): [[0.22208793205122634, -0.6539126101492104], [0.8467941802355244, 0.06690721020824777]],
    ("cosine", "v", 10, 0.5): [[-0.44105093140598134, -0.5953485292551622], [-0.18257787660710034, -0.20779507586218063]],
    ("cosine", "v", 1000, None): [[0.1817749544944436, -0.298881506252871], [-0.37966971034782326, -1.3339595023477713]],
}


def network(x: Tensor, t: Tensor) -> Tensor:
    return 0.5 * torch.sin(x + 0.01 * t.double().reshape(-1, 1)) + 0.3 * x


def ours(schedule: str, prediction: str, steps: int, eta: float | None) -> Tensor:
    chosen, drawn = noise_schedule(schedule, 1000), iter(NOISE)
    denoise = denoise_by(network, chosen, prediction, limit=3.0)
    if eta is None:
        return sample_ddpm(denoise, START, chosen, lambda: next(drawn))
    return sample_ddim(denoise, START, chosen, lambda: next(drawn), steps=steps, eta=eta)


@pytest.mark.parametrize("case", GOLDEN, ids=str)
def test_samplers_give_the_numbers_of_diffusers(case):
    assert (ours(*case) - torch.tensor(GOLDEN[case], dtype=torch.float64)).abs().max() <= 1e-6


@pytest.mark.parametrize("case", GOLDEN, ids=str)
def test_samplers_agree_with_diffusers_where_it_is_installed(case, monkeypatch):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed; the golden numbers beside are of it")
    schedule, prediction, steps, eta = case
    share = noise_schedule(schedule, 1000).signal_share
    drawn = iter(NOISE)
    made = (diffusers.DDPMScheduler if eta is None else diffusers.DDIMScheduler)(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule=IN_DIFFUSERS[schedule],
        prediction_type=IN_DIFFUSERS[prediction],
        clip_sample=True,
        clip_sample_range=3.0,
        timestep_spacing="trailing",
    )
    assert (made.alphas_cumprod - share).abs().max() <= 1e-6
    # It holds its schedule in float32; what is compared from here on are the samplers.
    made.alphas_cumprod, made.one = share, torch.ones((), dtype=torch.float64)
    made.alphas = share / torch.cat([torch.ones(1, dtype=torch.float64), share[:-1]])
    made.betas = 1 - made.alphas
    made.set_timesteps(steps)
    monkeypatch.setattr(importlib.import_module("diffusers.schedulers.scheduling_ddpm"), "randn_tensor", lambda *_, **__: next(drawn))
    x = START
    for t in made.timesteps:
        told = network(x, torch.full((2,), int(t)))
        how = {} if eta is None else {"eta": eta, "use_clipped_model_output": True, "variance_noise": next(drawn) if eta else None}
        x = made.step(told, t, x, **how).prev_sample
    assert (ours(*case) - x).abs().max() <= 1e-6


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [50, 1000])
def test_a_schedule_goes_from_nearly_all_signal_to_nearly_none(name, steps):
    share = noise_schedule(name, steps).signal_share
    assert share.dtype == torch.float64 and (share.diff() < 0).all()
    assert share[0] > 0.99 and share[-1] < 1e-4


def test_the_middle_of_the_cosine_schedule_is_that_of_the_paper():
    # Nichol and Dhariwal 2021, eq. 17, in closed form: f(t) / f(0), away from the end where beta is bounded.
    share, first = noise_schedule("cosine", 1000).signal_share, math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    expected = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / first
    assert float(share[499]) == pytest.approx(expected, rel=1e-12)


numbers = st.floats(-4, 4, width=32)


@settings(max_examples=60, deadline=None)
@given(latent=numbers, noise=numbers, t=st.integers(0, 999), name=st.sampled_from(["linear", "cosine"]), prediction=st.sampled_from(["epsilon", "v"]))
def test_a_network_that_is_right_tells_the_latent_and_has_no_loss(latent, noise, t, name, prediction):
    schedule, step = noise_schedule(name, 1000), torch.tensor([t])
    x0, e = (torch.tensor([[value]], dtype=torch.float64) for value in (latent, noise))
    right, noised = schedule.target(x0, e, step, prediction), schedule.noised(x0, e, step)
    assert float(schedule.latents_told(right, noised, step, prediction)) == pytest.approx(latent, abs=1e-6)
    assert float(schedule.noise_loss(right, x0, e, step, prediction)) == 0


@settings(max_examples=60, deadline=None)
@given(latent=numbers, noise=numbers, told=numbers, t=st.integers(0, 999))
def test_the_loss_of_v_is_that_of_the_noise_it_amounts_to(latent, noise, told, t):
    schedule, step = noise_schedule("linear", 1000), torch.tensor([t])
    x0, e, v = (torch.tensor([[value]], dtype=torch.float64) for value in (latent, noise, told))
    signal, rest = (float(part) for part in schedule.parts(step, x0))
    as_noise = rest * schedule.noised(x0, e, step) + signal * v
    assert float(schedule.noise_loss(v, x0, e, step, "v")) == pytest.approx(float((as_noise - e) ** 2), rel=1e-6, abs=1e-9)


# Four Gaussians of unequal weight in the plane, whose every noised density is known.
CENTRES = torch.tensor([[-1.5, -1.0], [-0.5, 1.2], [0.8, -0.9], [1.6, 0.8]], dtype=torch.float64)
WEIGHTS, WIDTH = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64), 0.15


def true_samples(number: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    which = torch.multinomial(WEIGHTS, number, replacement=True, generator=random)
    return CENTRES[which] + WIDTH * torch.randn(number, 2, dtype=torch.float64, generator=random)


def exact_denoiser(schedule):
    """E[x_0 | x_t] of the mixture: a mean of each Gaussian's own, by how likely x_t comes from it."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        signal, rest = schedule.parts(t, x)
        variance = signal**2 * WIDTH**2 + rest**2
        apart = x.unsqueeze(1) - signal.unsqueeze(1) * CENTRES
        belongs = (WEIGHTS.log() - apart.square().sum(dim=-1) / (2 * variance)).softmax(dim=-1)
        told = CENTRES + (signal * WIDTH**2 / variance).unsqueeze(-1) * apart
        return (belongs.unsqueeze(-1) * told).sum(dim=1)

    return denoise


def sliced_wasserstein(one: Tensor, other: Tensor) -> float:
    angles = torch.arange(8, dtype=torch.float64) * math.pi / 8
    directions = torch.stack([angles.cos(), angles.sin()])
    pairs = zip((one @ directions).T.numpy(), (other @ directions).T.numpy(), strict=True)
    return sum(wasserstein_distance(a, b) for a, b in pairs) / 8


@pytest.mark.parametrize(("name", "steps", "eta"), [("linear", 1000, None), *itertools.product(["linear", "cosine"], [100], [0.0, 1.0])])
def test_with_the_exact_score_a_known_distribution_comes_out(name, steps, eta):
    schedule, random, number = noise_schedule(name, 1000), torch.Generator().manual_seed(1), 3000
    denoise = exact_denoiser(schedule)

    def draw() -> Tensor:
        return torch.randn(number, 2, dtype=torch.float64, generator=random)

    if eta is None:
        made = sample_ddpm(denoise, draw(), schedule, draw)
    else:
        made = sample_ddim(denoise, draw(), schedule, draw, steps=steps, eta=eta)
    real, floor = true_samples(number, 2), sliced_wasserstein(true_samples(number, 3), true_samples(number, 2))
    # Two draws of the truth are about 0.03 apart; noise alone is ten times as far.
    assert sliced_wasserstein(made, real) <= floor + 0.03 < sliced_wasserstein(draw(), real) / 4
    nearest = torch.cdist(made, CENTRES).argmin(dim=-1)
    assert (torch.bincount(nearest, minlength=4) / number - WEIGHTS).abs().max() <= 0.04


def test_ddim_of_every_step_and_eta_one_is_ddpm():
    schedule = noise_schedule("linear", 200)
    denoise = exact_denoiser(schedule)
    one, other = iter(NOISE), iter(NOISE)
    ancestral = sample_ddpm(denoise, START, schedule, lambda: next(one))
    implicit = sample_ddim(denoise, START, schedule, lambda: next(other), steps=200, eta=1.0)
    assert (ancestral - implicit).abs().max() <= 1e-9


def test_guidance_goes_from_unasked_through_asked_and_beyond():
    x, t = torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)
    asked, free = (lambda x, _: x + 3.0), (lambda x, _: x + 1.0)
    assert [float(guided(asked, free, weight)(x, t)[0, 0]) for weight in (0.0, 1.0, 2.0)] == [1.0, 3.0, 5.0]


@pytest.mark.parametrize("steps", [0, 201])
def test_more_steps_than_the_model_has_are_refused(steps):
    schedule = noise_schedule("linear", 200)
    with pytest.raises(ValueError, match=rf"steps must lie in \[1, 200\].*found {steps}"):
        sample_ddim(exact_denoiser(schedule), START, schedule, lambda: NOISE[0], steps=steps)
