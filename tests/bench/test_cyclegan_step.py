"""The benchmark of CycleGAN's step: both sides agree, ours keeps half the graph, and no time is given when they do not agree."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from bench import cyclegan_step, plain_cyclegan

SIZE = {"side": 32, "ngf": 2, "ndf": 2, "batch": 2, "rounds": 1}
CPU = torch.device("cpu")


def test_both_sides_take_the_same_steps_and_ours_keeps_half_of_what_waits():
    result = cyclegan_step.compare(SIZE, CPU)
    assert result["differs"] == "" and result["ours_over_plain"]["median"] > 0
    ours, plain = (result["sides"][name]["graph_mib"] for name in ("ours", "plain"))
    assert 0.4 * plain < ours < 0.6 * plain


def test_sides_that_differ_are_not_timed(monkeypatch):
    step = plain_cyclegan.step
    monkeypatch.setattr(plain_cyclegan, "step", lambda *given: step(*given, identity=0.4))
    result = cyclegan_step.compare(SIZE, CPU)
    assert "step 1: g_loss is" in result["differs"] and "sides" not in result


def test_weights_that_move_otherwise_are_told_where_losses_do_not_yet_differ(monkeypatch):
    optimizers = plain_cyclegan.optimizers
    monkeypatch.setattr(plain_cyclegan, "optimizers", lambda networks: optimizers(networks, lr=1e-4))
    monkeypatch.setattr(cyclegan_step, "STEPS_COMPARED", 1)
    assert "weights differ by" in cyclegan_step.compare(SIZE, CPU)["differs"]
