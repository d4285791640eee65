"""Snapshots of any GAN: the same pictures each time, measured and kept, and what of them goes into the output."""

import json
from dataclasses import dataclass

import numpy
import pytest
import torch

from stages.output_folder import OutputFolder
from stages.reporting import Reporter
from training.gans.grids import SnapshotIndex, load_picture
from training.gans.image_stream import TrainingImages
from training.gans.options import GanOptions
from training.gans.snapshots import Snapshots, fixed_latents
from training.loop.devices import Devices
from training.loop.job import Workplace
from training.loop.loop import Outcome
from training.tracking.tracker import Tracker

REALS = TrainingImages(torch.randint(0, 256, (12, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8))
OPTIONS = GanOptions(kimg=0.1, batch=4, snap=0.02, grid=(3, 2), metrics=("swd",), metric_images=8, guard_images=4)


@dataclass
class Seen:
    samples_seen: int = 0


class Kept(Tracker):
    def __init__(self) -> None:
        self.files: list[tuple[str, str]] = []

    def artifact(self, path, folder="") -> None:
        self.files.append((path.name, folder))


@pytest.fixture
def snapshots(tmp_path) -> Snapshots:
    place = Workplace(tmp_path / "own", tmp_path, {"reals": "1.dir"}, Kept(), Reporter())
    place.folder.mkdir()
    place.stats.write_text("{}\n")
    trainer = Seen()

    def painter():
        """Pictures as light as the training is old: no latent vectors at all, as with CycleGAN."""
        return lambda count, purpose, psi: numpy.full((count, 3, 16, 16), trainer.samples_seen, numpy.uint8)

    return Snapshots(trainer, painter, REALS, OPTIONS, Devices(torch.device("cpu")), place, reals_id="1.dir")


def test_a_snapshot_is_a_grid_with_its_numbers_and_the_tracker_keeps_it(snapshots):
    snapshots.trainer.samples_seen = 40
    values = snapshots.take()
    assert set(values) >= {"spread", "swd_x1000"} and values["spread"] == 0.0
    path = snapshots.place.folder / "fakes000000_040.png"
    picture = load_picture(path)
    assert picture.shape == (32, 48, 3) and (picture == 40).all()
    assert json.loads(path.with_suffix(".json").read_text()) == {"images": 40, "file": path.name, "metrics": values}
    assert snapshots.place.tracker.files == [(path.name, "snapshots")]


def test_the_guard_compares_with_the_reals_spread(snapshots):
    guard = snapshots.guard()
    assert guard.real_spread > 0 and guard.distance == "swd_x1000"
    assert guard.judge({"spread": guard.real_spread}, 4) is None and "all alike" in guard.judge({"spread": 0.0}, 8)


def test_the_output_takes_the_snapshots_of_what_was_trained_and_the_newest_ones_numbers(snapshots, tmp_path):
    taken = {}
    for images in (0, 40, 60):
        snapshots.trainer.samples_seen = images
        taken[images] = snapshots.take()
    outcome = Outcome(40, finished=False, skipped_steps=1, rollbacks=2, values={}, reasons=("why",))
    with OutputFolder(tmp_path / "model") as output:
        assert snapshots.write(output, outcome, {"gamma": 2.0}) == taken[40]
    index = SnapshotIndex.read(tmp_path / "model/snapshots/index.json")
    assert [row["images"] for row in index.snapshots] == [0, 40] and (index.columns, index.rows, index.resolution) == (3, 2, 16)
    assert sorted(path.name for path in (tmp_path / "model/snapshots").glob("*.png")) == ["fakes000000.png", "fakes000000_040.png"]
    assert sorted(path.name for path in (tmp_path / "model/plots/fakes").iterdir()) == ["0.png", "40.png"]
    facts = json.loads((tmp_path / "model/training_options.json").read_text())
    assert facts["gamma"] == 2.0 and facts["rollback_reasons"] == ["why"] and facts["pictures"] == 12 and facts["batch"] == 4
    assert json.loads((tmp_path / "model/metrics.json").read_text())["kimg"] == 0.04
    assert load_picture(tmp_path / "model/reals.png").shape == (32, 48, 3)


def test_latent_vectors_belong_to_their_purpose_and_come_with_labels_of_the_set():
    labels = torch.eye(3)[[0, 2, 2]]
    z, chosen = fixed_latents(4, 5, labels, 1, "grid")
    again, other = fixed_latents(4, 5, labels, 1, "grid"), fixed_latents(4, 5, None, 1, "measured")
    assert torch.equal(z, again[0]) and torch.equal(chosen, again[1]) and not torch.equal(z, other[0]) and other[1] is None
    assert not chosen[:, 1].any()
