"""The law by which the augmentation's strength follows the discriminator."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.gans.ada import AugmentController
from training.gans.augment import Augment, augment_preset


def controller(p: float = 0.0, **settings) -> AugmentController:
    return AugmentController(None, p, **{"is_adaptive": True, **settings})


def test_p_moves_every_four_iterations_by_the_images_seen():
    ada = controller(0.5, target=0.6, kimg=500)
    for _ in range(3):
        ada.observe(torch.tensor(1.0), 32)
    assert ada.p == 0.5
    ada.observe(torch.tensor(1.0), 32)
    assert ada.p == pytest.approx(0.5 + 4 * 32 / 500_000)
    for _ in range(4):
        ada.observe(torch.tensor(-1.0), 32)
    assert ada.p == pytest.approx(0.5)


def test_at_the_target_p_stays():
    ada = controller(0.25, target=0.5, kimg=1)
    for sign in (1.0, 0.0, 0.5, 0.5):
        ada.observe(torch.tensor(sign), 8)
    assert ada.p == 0.25


@given(st.lists(st.floats(-1, 1), max_size=200), st.floats(0, 1))
def test_p_stays_a_probability(signs, start):
    ada = controller(start, target=0.6, kimg=0.05)
    for sign in signs:
        ada.observe(torch.tensor(sign), 16)
        assert 0 <= ada.p <= 1


def test_the_augmentation_has_the_controllers_p_from_the_start_after_steps_and_after_loading():
    augments = [Augment(augment_preset("text")) for _ in range(2)]
    ada, other = (AugmentController(augment, 0.3, is_adaptive=True, target=0.0, kimg=0.1) for augment in augments)
    assert float(augments[0].p) == pytest.approx(0.3)
    for _ in range(4):
        assert ada.after_step({"r_t": torch.tensor(1.0)}, 4) == {"p": ada.p}
    assert ada.p > 0.3 and float(augments[0].p) == pytest.approx(ada.p)
    other.load_state_dict(ada.state_dict())
    assert float(augments[1].p) == float(augments[0].p)


def test_a_fixed_p_stays_and_a_sign_that_is_no_number_is_not_counted():
    fixed, ada = controller(0.3, is_adaptive=False, kimg=0.001), controller(0.3, kimg=0.001)
    for _ in range(8):
        fixed.after_step({"r_t": torch.tensor(1.0)}, 4)
        ada.after_step({"r_t": torch.tensor(math.nan)}, 4)
    assert fixed.p == ada.p == 0.3
