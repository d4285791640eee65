"""Checkpoints: whole or not at all, recognised when damaged, never another training's."""

import hashlib
import io
from pathlib import Path

import pytest
import torch

from stages.reporting import Reporter
from training.loop.checkpoint import CheckpointError, Checkpoints, GoodStates, read_checkpoint, write_checkpoint
from training.loop.seeding import global_random_state


class Told(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def store(folder: Path, key: str = "key", keep: int = 2) -> tuple[Checkpoints, Told]:
    told = Told()
    return Checkpoints(folder, key, keep, told), told


def payload(value: float) -> dict:
    return {"state": {"weight": torch.full((3,), value), "steps": 4, "name": "x", "none": None}, "random": global_random_state()}


def test_what_was_saved_comes_back(tmp_path):
    checkpoints, told = store(tmp_path)
    checkpoints.save(100, payload(1.5))
    restored = checkpoints.latest()
    assert restored["samples"] == 100 and restored["run_key"] == "key"
    assert torch.equal(restored["state"]["weight"], torch.full((3,), 1.5)) and restored["state"]["none"] is None
    assert torch.equal(restored["random"]["torch"], torch.get_rng_state()) and told.lines == []


def test_only_the_newest_are_kept(tmp_path):
    checkpoints, _ = store(tmp_path, keep=2)
    for samples in (9, 100, 1000, 20000):
        checkpoints.save(samples, payload(samples))
    assert [read_checkpoint(path)["samples"] for path in checkpoints.paths()] == [1000, 20000]
    checkpoints.keep_last_only()
    assert [path.name for path in checkpoints.own_folder.iterdir()] == ["samples-000000000020000.pt"]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_short, flip_a_byte, empty])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_says_so(tmp_path, damage):
    checkpoints, told = store(tmp_path)
    checkpoints.save(100, payload(1.0))
    damage(checkpoints.save(200, payload(2.0)))
    assert checkpoints.latest()["samples"] == 100
    assert len(told.lines) == 1 and told.lines[0].startswith("WARNING") and "samples-000000000000200.pt" in told.lines[0]
    # Set aside, so that it is not in the way of the next checkpoint of that name, and not tried again.
    assert checkpoints.latest()["samples"] == 100 and len(told.lines) == 1


def test_only_damaged_checkpoints_are_an_error_rather_than_a_silent_new_beginning(tmp_path):
    checkpoints, _ = store(tmp_path)
    flip_a_byte(checkpoints.save(100, payload(1.0)))
    with pytest.raises(CheckpointError, match="all 1 checkpoints are damaged.*remove that folder"):
        checkpoints.latest()


def test_a_write_that_fails_leaves_the_earlier_checkpoint_and_no_litter(tmp_path, monkeypatch):
    checkpoints, _ = store(tmp_path)
    checkpoints.save(100, payload(1.0))

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.loop.checkpoint.os.fsync", full_disk)
    with pytest.raises(OSError, match=r"samples-0*200\.pt: the disk or a quota is full: at least [\d,]+ bytes are needed, [\d,]+ are free"):
        checkpoints.save(200, payload(2.0))
    assert [path.name for path in checkpoints.own_folder.iterdir()] == ["samples-000000000000100.pt"]


def test_another_trainings_checkpoints_are_not_used_and_this_is_said(tmp_path):
    store(tmp_path, key="old")[0].save(100, payload(1.0))
    checkpoints, told = store(tmp_path, key="new")
    assert checkpoints.latest() is None
    assert "1 other trainings" in told.lines[0] and "not used" in told.lines[0]


def test_a_file_moved_in_from_another_training_is_not_used(tmp_path):
    other = store(tmp_path, key="old")[0].save(100, payload(1.0))
    checkpoints, told = store(tmp_path, key="new")
    checkpoints.own_folder.mkdir()
    other.rename(checkpoints.own_folder / other.name)
    assert checkpoints.latest() is None and "belongs to another training" in told.lines[-1]


def test_old_trainings_are_cleared_away_but_the_last_three(tmp_path):
    for index in range(5):
        store(tmp_path, key=f"old{index}")[0].save(1, payload(1.0))
    checkpoints, _ = store(tmp_path, key="new")
    checkpoints.save(1, payload(1.0))
    checkpoints.keep_last_only()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old2", "old3", "old4"]


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("run",))

    path = tmp_path / "trap.pt"
    write_checkpoint(path, {"trap": Trap()})
    with pytest.raises(CheckpointError, match="cannot read it safely"):
        read_checkpoint(path)


@pytest.mark.parametrize("harm", ["a folder", "no checkpoint of ours", "another program's"])
def test_what_cannot_be_read_at_all_gives_way_to_the_one_before_too(tmp_path, harm):
    checkpoints, told = store(tmp_path)
    checkpoints.save(100, payload(1.0))
    newest = checkpoints.own_folder / "samples-000000000000200.pt"
    if harm == "a folder":  # whoever reads it gets an error of the system's, as from a failing disk
        newest.mkdir()
    else:
        body = b"no zip" if harm == "no checkpoint of ours" else pickled_list()
        newest.write_bytes(body + b"FIGMENT1" + hashlib.sha256(body).digest())
    assert (checkpoints.latest() or {})["samples"] == 100
    assert len(told.lines) == 1 and told.lines[0].startswith("WARNING") and newest.name in told.lines[0]


def pickled_list() -> bytes:
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    return buffer.getvalue()


def test_checkpoints_of_an_abandoned_way_are_dropped(tmp_path):
    checkpoints = Checkpoints(tmp_path, "key", 5, Reporter())
    for samples in (10, 20, 30):
        checkpoints.save(samples, {})
    checkpoints.drop_after(20)
    assert (checkpoints.latest() or {})["samples"] == 20 and len(checkpoints.paths()) == 2


def test_good_states_are_a_ring_that_survives_the_checkpoints(tmp_path):
    checkpoints = Checkpoints(tmp_path, "key", 1, Reporter())
    good = GoodStates(checkpoints.own_folder / "good", 3)
    for samples in (10, 20, 30, 40):
        good.add(checkpoints.save(samples, {"state": samples}))
    assert [path.name[-5:-3] for path in good.paths()] == ["20", "30", "40"] and len(checkpoints.paths()) == 1
    newest = good.newest()
    assert newest is not None and newest["state"] == 40
    good.use_up(40)
    assert (good.newest() or {})["state"] == 30
    good.drop_after(25)
    assert (good.newest() or {})["state"] == 20
    # The last one stays: there must be something to come back to.
    good.use_up(20)
    assert (good.newest() or {})["state"] == 20


def test_a_damaged_good_state_gives_way_to_the_one_before(tmp_path):
    checkpoints = Checkpoints(tmp_path, "key", 9, Reporter())
    good = GoodStates(tmp_path / "good", 2)
    for samples in (10, 20):
        good.add(checkpoints.save(samples, {"state": samples}))
    good.paths()[-1].write_bytes(b"cut")
    assert (good.newest() or {})["state"] == 10


def test_no_good_states_are_kept_when_none_are_wanted(tmp_path):
    checkpoints = Checkpoints(tmp_path, "key", 9, Reporter())
    good = GoodStates(tmp_path / "good", 0)
    good.add(checkpoints.save(10, {}))
    assert good.newest() is None
