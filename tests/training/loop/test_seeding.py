"""Seeds depend on what they are for; generators go on where they were."""

import random
import subprocess
import sys

import numpy
import torch

from stages.derived_seed import derive_seed
from training.loop.seeding import generator, global_random_state, seed_everything, set_global_random_state


def draw():
    legacy = float(numpy.random.rand()), float(numpy.random.randn())  # noqa: NPY002 (the global generator is what is tested)
    return random.random(), random.gauss(0, 1), legacy, torch.rand(3).tolist()


def test_a_seed_depends_on_every_part_and_on_its_type():
    seeds = [
        derive_seed(0, "order", 1),
        derive_seed(0, "order", 2),
        derive_seed(1, "order", 1),
        derive_seed(0, "noise", 1),
        derive_seed("0", "order", 1),
    ]
    seeds += [derive_seed("ab", "c"), derive_seed("a", "bc")]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_is_the_same_in_another_process():
    program = "from stages.derived_seed import derive_seed; print(derive_seed(5, 'order', 2))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7", "PYTHONPATH": "."})
    assert int(run.stdout) == derive_seed(5, "order", 2)


def test_equal_parts_give_equal_streams():
    assert torch.equal(torch.rand(4, generator=generator(1, "x")), torch.rand(4, generator=generator(1, "x")))


def test_seeding_everything_makes_all_global_generators_repeat():
    seed_everything(3)
    first = draw()
    seed_everything(3)
    assert draw() == first


def test_restored_generators_continue_as_if_nothing_had_happened(tmp_path):
    seed_everything(11)
    draw()
    torch.save(global_random_state(), tmp_path / "state.pt")
    expected = [draw(), draw()]
    seed_everything(99)
    set_global_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [draw(), draw()] == expected
