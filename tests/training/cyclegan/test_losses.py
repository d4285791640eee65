"""One step of a CycleGAN against the same step written down plainly; who judges whom; parts, orders, cutting and mirroring, and bad batches."""

import copy
import itertools
import math

import pytest
import torch
from torch.nn import functional

from bench import plain_cyclegan
from tests.training.cyclegan.toy_pictures import CPU, toy_domains, toy_training
from training.cyclegan.losses import CycleGANLosses, cut_out
from training.gans.players import Moment
from training.loop.devices import Devices
from training.loop.seeding import generator

STEADY = {"constant_kimg": 1.0, "decay_kimg": 0.0, "kimg": 1.0}


def assert_same_weights(ours, theirs) -> None:
    for name, network in ours.items():
        # Biases before a normalisation have no influence, and Adam moves them by the sign of rounding errors.
        for (key, one), other in zip(network.named_parameters(), theirs[name].parameters(), strict=True):
            if key.endswith("weight"):
                torch.testing.assert_close(one, other, atol=3e-5, rtol=1e-3)


@pytest.mark.parametrize("identity", [0.5, 0.0])
def test_steps_are_the_published_steps(identity):
    training = toy_training(pool=50, batch=3, lambda_identity=identity, **STEADY)
    networks = copy.deepcopy(training.networks)
    optimizers, pools = plain_cyclegan.optimizers(networks), {name: plain_cyclegan.Pool(50) for name in ("D_A", "D_B")}
    for _ in range(3):
        now = Moment(training.trainer.samples_seen, training.trainer.iteration, 0)
        reals = [training.losses.batch(name, now) for name in "AB"]
        told = plain_cyclegan.step(networks, optimizers, pools, *reals, identity=identity)
        values = training.trainer.step().numbers()
        assert {name: values[name] for name in told} == pytest.approx(told, rel=1e-5)
    assert_same_weights(training.networks, networks)


def test_g_a_goes_from_a_to_b_and_d_a_judges_b(monkeypatch):
    """The names of SYSTEMS §4: the discriminator named A belongs to the generator named A, and its reals are pictures of B, labelled 1."""
    training = toy_training(pool=0, **STEADY)
    losses, seen = training.losses, []
    for name, network in training.networks.items():
        network.register_forward_pre_hook(lambda module, given, name=name: seen.append((name, given[0].detach())))
    now = Moment(0, 0, 0)
    list(losses.generator_losses(now))
    reals = {name: losses.batch(name, now) for name in "AB"}
    given = {name: [pictures for who, pictures in seen if who == name] for name in training.networks}
    # G_A is given A to translate, and of B what it should leave alone; then what G_B made, to bring it back.
    assert torch.equal(given["G_A"][0], torch.cat([reals["A"], reals["B"]])) and len(given["G_A"]) == 2
    torch.testing.assert_close(given["G_A"][1], training.networks["G_B"](reals["B"]).detach())
    # D_A sees what G_A made.
    made = training.networks["G_A"](reals["A"]).detach()
    torch.testing.assert_close(given["D_A"][0], made)
    seen.clear()
    labels = []
    monkeypatch.setattr(
        "training.cyclegan.losses.least_squares_d", lambda real, fake: labels.append((real.detach(), fake.detach())) or (real + fake).flatten()
    )
    list(losses.discriminator_losses("D_A", now))
    pictures = next(pictures for who, pictures in seen if who == "D_A")
    assert torch.equal(pictures[:2], reals["B"])
    torch.testing.assert_close(pictures[2:], made)
    scores = training.networks["D_A"](torch.cat([reals["B"], made])).detach()
    assert torch.allclose(torch.cat(labels[0]), scores, atol=1e-6)


def test_discriminators_do_not_move_in_the_generators_turn_nor_generators_in_theirs():
    training = toy_training(**STEADY)
    before = {name: copy.deepcopy(network.state_dict()) for name, network in training.networks.items()}

    def moved():
        return {
            name
            for name, network in training.networks.items()
            if not all(torch.equal(value, before[name][key]) for key, value in network.state_dict().items())
        }

    now, who = Moment(0, 0, 0), []
    for phase in training.trainer.phases:
        training.trainer._take_turn(phase, now)
        who.append(moved())
    assert who == [{"G_A", "G_B"}, {"G_A", "G_B", "D_A"}, {"G_A", "G_B", "D_A", "D_B"}]


def test_parts_of_a_batch_teach_what_the_whole_does():
    whole, parts = toy_training(batch=4, **STEADY), toy_training(batch=4, batch_gpu=1, **STEADY)
    for _ in range(3):
        values = [training.trainer.step().numbers() for training in (whole, parts)]
        assert values[0] == pytest.approx(values[1], rel=1e-3, abs=1e-5)
    assert_same_weights(whole.networks, parts.networks)


class Half(Devices):
    """One of two processes; `sum` is answered with the share of the other."""

    others: torch.Tensor

    def sum(self, values):
        return values + self.others


def test_every_process_sees_the_fakes_of_all():
    losses = toy_training(batch=4, **STEADY).losses
    fakes = torch.rand(4, 3, 16, 16)
    for rank in (0, 1):
        half = Half(torch.device("cpu"), rank=rank, world_size=2)
        others = fakes.clone()
        others[2 * rank : 2 * rank + 2] = 0
        object.__setattr__(half, "others", others)
        losses.devices = half
        assert torch.equal(losses._of_all_processes([fakes[2 * rank : 2 * rank + 2]]), fakes)


def test_the_two_domains_are_shuffled_independently_and_epochs_show_every_picture():
    """GAN-with-JAX went through both sets in step, by place modulo length: every painting met the same photographs."""
    losses = toy_training(toy_domains(numbers={"A": 6, "B": 6}), batch=1, flip=False, **STEADY).losses
    places = {name: [int(losses.orders[name].take(place, 1)[0]) for place in range(36)] for name in "AB"}
    for order in places.values():
        assert all(sorted(order[start : start + 6]) == list(range(6)) for start in range(0, 36, 6))
    pairs = set(zip(places["A"], places["B"], strict=True))
    assert places["A"] != places["B"] and len(pairs) > 12


def test_sets_of_different_sizes_and_smaller_than_a_batch_train():
    training = toy_training(toy_domains(numbers={"A": 3, "B": 1}), batch=4, **STEADY)
    assert not training.trainer.step().skipped and training.trainer.samples_seen == 4


def test_pictures_are_cut_and_mirrored_by_seed_and_place_alone():
    training, again = toy_training(**STEADY), toy_training(**STEADY)
    losses, other = training.losses, again.losses
    for place in range(0, 40, 2):
        now = Moment(place, 7, 0)
        one = losses.batch("A", now)
        assert one.shape == (2, 3, 16, 16) and torch.equal(one, other.batch("A", now))
        assert float(one.abs().max()) <= 1
    assert not torch.equal(losses.batch("A", Moment(2, 1, 0)), losses.batch("A", Moment(2, 1, 1)))
    # An epoch of a set of seven is fourteen places: each picture once as it is and once mirrored.
    plain = toy_training(load_size=None, **STEADY).losses
    shown = torch.cat([plain.batch("A", Moment(place, 0, 0)) for place in range(0, 14, 2)])
    for picture, place in itertools.product(plain.data["A"].images.float() / 127.5 - 1, (1, 3)):
        wanted = picture if place == 1 else picture.flip(2)
        assert any(torch.equal(wanted, found) for found in shown)


def test_what_is_cut_out_lies_anywhere_in_the_enlarged_picture():
    pictures = torch.linspace(-1, 1, 8).view(1, 1, 1, 8).expand(64, 1, 8, 8)
    cut = cut_out(pictures, 12, generator(0))
    large = functional.interpolate(pictures[:1], size=12, mode="bicubic", align_corners=False).clamp(-1, 1)[0, 0, 0]
    lefts = {next(left for left in range(5) if torch.allclose(large[left : left + 8], row[0, 0])) for row in cut}
    assert lefts == set(range(5))
    assert torch.equal(cut_out(pictures, 8, generator(0)), pictures)


def test_bad_batches_are_skipped_counted_and_do_not_reach_weights_or_pools(monkeypatch):
    training = toy_training(**STEADY)
    training.trainer.step()
    losses = training.losses
    before = {name: copy.deepcopy(network.state_dict()) for name, network in training.networks.items()}
    kept = [picture.clone() for pool in losses.pools.values() for picture in pool.kept]
    batch = CycleGANLosses.batch
    monkeypatch.setattr(CycleGANLosses, "batch", lambda self, name, now: batch(self, name, now) * math.nan)
    assert training.trainer.step().skipped
    monkeypatch.undo()
    assert all(torch.equal(value, before[name][key]) for name, network in training.networks.items() for key, value in network.state_dict().items())
    assert all(torch.equal(*pair) for pair in zip(kept, (picture for pool in losses.pools.values() for picture in pool.kept), strict=True))
    assert not training.trainer.step().skipped


@pytest.mark.parametrize("variant", ["cyclegan", "gan-with-jax", "gan-with-jax-text"])
def test_every_variant_takes_a_step(variant):
    changes = {"variant": variant, "ngf": 1, "ndf": 1, "load_size": None}
    training = toy_training(toy_domains(side=32), devices=CPU, **{**changes, **STEADY})
    outcome = training.trainer.step()
    assert not outcome.skipped and all(math.isfinite(value) for value in outcome.numbers().values())


def test_bfloat16_takes_about_the_same_steps_and_keeps_weights_and_fakes_in_float32():
    exact, coarse = toy_training(**STEADY), toy_training(precision="bfloat16", **STEADY)
    for _ in range(3):
        values = [training.trainer.step().numbers() for training in (exact, coarse)]
    for name in ("g_loss", "d_a_loss", "d_b_loss", "cycle_a"):
        assert values[1][name] == pytest.approx(values[0][name], rel=0.05) and values[1][name] != values[0][name]
    assert all(value.dtype == torch.float32 for network in coarse.networks.values() for value in network.parameters())
    assert all(picture.dtype == torch.float32 for pool in coarse.losses.pools.values() for picture in pool.kept)
