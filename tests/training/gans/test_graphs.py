"""Turns that are recorded and played again: the same steps as taken one by one, for every training; and where nothing can be recorded."""

import io
from dataclasses import replace

import pytest
import torch

from stages.reporting import Reporter
from tests.training.cyclegan.toy_pictures import toy_domains
from tests.training.cyclegan.toy_pictures import toy_training as toy_cyclegan
from tests.training.gans.recorded_steps import Refusing, Tape, reads_counted
from tests.training.progressive.tiny import images
from tests.training.stylegan3.toy_gan import toy_training as toy_stylegan3
from training.gans import graphs as training_graphs
from training.gans.graphs import Graphs, TurnRandom, open_graphs
from training.gans.players import AdversarialTrainer
from training.loop.devices import Devices
from training.loop.loop import TrainingError
from training.progressive.options import ProgressiveOptions
from training.progressive.train import ProgressiveTraining

CPU = Devices(torch.device("cpu"))


class Told(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def stylegan3(**changes) -> AdversarialTrainer:
    settings = {"reg_interval": 2, "aug": "ada", "ada_kimg": 0.05, "target": 0.0, "mirror": True, "aug_preset": "bgc", "batch_gpu": 2, **changes}
    return toy_stylegan3(labels=torch.eye(2)[torch.arange(24) % 2], cond=True, **settings).trainer


def progressive(**changes) -> AdversarialTrainer:
    settings = {"batch": 4, "batch_by_px": {}, "mbstd_group": 2, "z_dim": 8, "stable_kimg": 0.032, "fade_kimg": 0.008, "fmap_base": 32, "fmap_max": 8}
    return ProgressiveTraining(images(), ProgressiveOptions(**{**settings, **changes}), CPU, Told()).trainer


def cyclegan(**changes) -> AdversarialTrainer:
    settings = {"ngf": 1, "ndf": 1, "pool": 3, "load_size": 18, "batch": 2, "net_g": "resnet_1blocks", **changes}
    return toy_cyclegan(toy_domains(side=16), **settings).trainer


TRAININGS = {
    "stylegan3": stylegan3,
    "stylegan3-rpgan": lambda: stylegan3(loss="rpgan", aug="noaug"),
    # Pictures are blurred by a little less each time, and not at all any more from the 12th on.
    "stylegan3-blurred": lambda: stylegan3(cfg="stylegan3-r", aug="noaug"),
    "progressive": progressive,
    "progressive-fade": lambda: progressive(stable_kimg=0.004, fade_kimg=0.04),
    "progressive-r1": lambda: progressive(loss="non-saturating"),
    "cyclegan": cyclegan,
}


def saved(trainer: AdversarialTrainer) -> bytes:
    buffer = io.BytesIO()
    torch.save(trainer.state_dict(), buffer)
    return buffer.getvalue()


@pytest.fixture
def short_warm_up(monkeypatch):
    """One turn of each kind by single operators before it is recorded: what a GPU's libraries need more for, a CPU does not have."""
    monkeypatch.setattr(training_graphs, "_WARM_UP", 1)


@pytest.mark.parametrize("name", TRAININGS)
def test_recorded_turns_are_the_same_steps_to_the_bit(name, short_warm_up):
    one_by_one, recorded = TRAININGS[name](), TRAININGS[name]()
    tape = Tape()
    recorded.graphs = Graphs(tape)
    # The penalty of every second iteration is recorded in its second turn, and played in its third.
    for _ in range(6):
        values = [trainer.step().numbers() for trainer in (one_by_one, recorded)]
        assert values[0] == values[1]
    assert saved(one_by_one) == saved(recorded)
    # One recording a phase, in a fade too: what fades is no number of it.
    assert tape.recorded == len(recorded.phases) and tape.played > tape.recorded


@pytest.mark.parametrize("name", TRAININGS)
def test_no_number_is_read_in_a_step(name):
    trainer = TRAININGS[name]()
    # The first step makes what is kept, such as filters.
    trainer.step()
    # With the penalty and without.
    for _ in range(2):
        with reads_counted() as reads:
            trainer.step()
        assert reads == []


def test_the_count_of_reads_sees_reads():
    flag, numbers = torch.tensor(True), torch.arange(3.0)
    with reads_counted() as reads:
        bool(flag)
        float(numbers.sum())
        numbers.tolist()
        numbers[numbers > 1]
    assert reads == ["_local_scalar_dense", "_local_scalar_dense", "tolist", "index"]


@pytest.mark.slow
def test_a_resume_records_anew_and_goes_on_bit_by_bit():
    whole, first, second = stylegan3(), stylegan3(), stylegan3()
    for trainer in (whole, first, second):
        trainer.graphs = Graphs(Tape())
    for _ in range(12):
        whole.step()
    for _ in range(5):
        first.step()
    # `second` has recorded turns of its own before it is given another state.
    for _ in range(4):
        second.step()
    second.load_state_dict(torch.load(io.BytesIO(saved(first)), weights_only=True))
    for _ in range(7):
        second.step()
    assert saved(whole) == saved(second)


def test_a_turn_that_cannot_be_recorded_is_taken_step_by_step_and_that_is_said_once(short_warm_up):
    plain, refused, told = stylegan3(), stylegan3(), Told()
    refused.graphs = Graphs(Refusing(), told)
    for _ in range(3):
        values = [trainer.step().numbers() for trainer in (plain, refused)]
        assert values[0] == values[1]
    assert len(told.lines) == 1 and "operation not permitted when stream is capturing)" in told.lines[0]
    assert refused.graphs.recorder is None


def test_inputs_and_losses_on_another_device_are_refused_by_name():
    trainer = progressive()
    phase = trainer.phases[0]
    trainer.phases = [replace(phase, inputs=lambda now: {"z": torch.ones(2, device="meta")})]
    with pytest.raises(TrainingError, match=r"phase D: inputs lie on \{'z': 'meta'\}, the networks on cpu; move them there first"):
        trainer.step()
    trainer.phases = [replace(phase, inputs=None, losses=lambda now: iter([(torch.ones((), device="meta"), {})]))]
    with pytest.raises(TrainingError, match="phase D: its loss lies on meta, the training is on cpu; move its inputs there"):
        trainer.step()


def test_what_does_not_fit_the_memory_is_told_with_the_remedy():
    def full(now):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. And more")

    trainer = progressive()
    trainer.phases = [replace(trainer.phases[0], inputs=None, losses=full)]
    with pytest.raises(TrainingError, match=r"phase D: an iteration of 4 samples .* of cpu \(CUDA out of memory\); set batch_gpu, .* to half"):
        trainer.step()


class CountingMeter:
    """A GPU of 21 samples, 2 of which are taken, whose memory is what a turn was given."""

    def __init__(self) -> None:
        self.held = 0

    def peak(self, work):
        work()
        return (2 + self.held) * 2**30

    def capacity(self) -> int:
        return 21 * 2**30


def test_what_would_fit_is_measured_by_a_few_samples_side_by_side():
    trainer = progressive()
    phase, meter = trainer.phases[0], CountingMeter()
    trainer.meter = meter
    weight = trainer.players[phase.player].parameters[0]

    def losses(now, given):
        meter.held = len(given["z"])
        if meter.held == 32:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. And more")
        yield weight.sum(), {}

    trainer.phases = [replace(phase, inputs=lambda now: {"z": torch.ones(32, 3), "share": torch.ones(())}, losses=losses)]
    with pytest.raises(TrainingError, match=r"to 16 or less \(measured: 2.00 GiB and 1.00 GiB for each example\), or free"):
        trainer.step()


def test_amds_gpus_old_ones_and_several_processes_have_no_graphs_and_that_is_said(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    told = Told()
    assert open_graphs("auto", cuda, 1, told).recorder is None
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert open_graphs("auto", cuda, 2, told).recorder is None
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert open_graphs("auto", cuda, 1, told).recorder is None
    said = [line.removeprefix("no CUDA graphs on cuda: ") for line in told.lines]
    assert said == ["compute capability 6.1, they need 7.0", "several processes add up their gradients", "they are NVIDIA's"]


def test_a_turn_of_another_shape_is_another_turn():
    tape = Tape()
    graphs = Graphs(tape)

    def played(size: int) -> float:
        return float(graphs.play("turn", lambda some: {"sum": some["x"].sum()}, {"x": torch.ones(size)}, None, lambda: None)["sum"])

    assert [played(size) for size in (2, 2, 2, 2, 3, 2, 3)] == [2, 2, 2, 2, 3, 2, 3] and tape.recorded == 1


def test_graphs_are_for_gpus():
    told = Told()
    assert open_graphs("auto", torch.device("cpu"), 1, told).recorder is None and told.lines == []
    # Without asking the device anything: it need not be there.
    assert open_graphs("off", torch.device("cuda"), 1, told).recorder is None and told.lines == ["no CUDA graphs on cuda: cuda_graphs is off"]


def test_parts_draw_the_same_numbers_each_turn_others():
    random = TurnRandom(torch.device("cpu"), 1)
    drawn = []
    for turn in range(2):
        random.begin(0, turn)
        drawn += [torch.rand(3, generator=random.of("purpose", part)) for part in (0, 2)]
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[2], drawn[3]) and not torch.equal(drawn[0], drawn[2])


@pytest.mark.gpu
@pytest.mark.parametrize("graphs", ["off", "auto"])
def test_on_a_gpu_steps_wait_for_nothing_and_recorded_ones_are_the_same(graphs):
    devices = Devices(torch.device("cuda"))
    training, plain = (toy_stylegan3(devices=devices, aug="fixed", p=0.5, mirror=True, reg_interval=2, cuda_graphs=kind) for kind in (graphs, "off"))
    for trainer in (training.trainer, plain.trainer):
        # Warm-up and recording wait for the device; all later steps must not.
        for _ in range(8):
            trainer.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            outcomes = [trainer.step() for trainer in (training.trainer, plain.trainer)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    values = [outcome.numbers() for outcome in outcomes]
    assert values[0] == pytest.approx(values[1], rel=1e-3, abs=1e-3)
