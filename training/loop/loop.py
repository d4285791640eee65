"""The training loop every model shares: steps until a budget of samples is spent, with metrics, checkpoints, exact resume and a collapse guard.

The loop knows no model. A model brings a `Trainable`; what it trains on, how many optimizers it has and what its losses are stays with it. Started
again after being killed at any moment, the loop continues from the newest whole checkpoint, and on a CPU ends with the same bits.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from stages.reporting import Reporter, progress_line
from training.loop.checkpoint import Checkpoints, GoodStates
from training.loop.devices import Devices
from training.loop.flops import flop_rates
from training.loop.muon import Muon
from training.loop.seeding import global_random_state, set_global_random_state
from training.loop.tally import Counts, Tally


class TrainingError(Exception):
    """A training cannot go on: its loss is not finite even after rolling back."""


@dataclass(frozen=True)
class StepOutcome:
    """values: scalars to average and report (tensors may stay on their device). samples: shown in this step, over all processes.

    skipped: loss or gradient was not finite and the weights were left alone. A tensor is not read before the next report or checkpoint.
    """

    values: Mapping[str, Tensor | float]
    samples: int
    skipped: bool | Tensor = False

    def numbers(self) -> dict[str, float]:
        """The values, read: waits for the device."""
        return {name: float(value) for name, value in self.values.items()}


class Trainable(Protocol):
    """What the loop trains. State must be tensors and plain values (`torch.load(weights_only=True)` reads it back)."""

    samples_seen: int

    def step(self) -> StepOutcome:
        """One optimisation step; adds to `samples_seen`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the next step, save global random generators: weights, averages, optimizers, place in the data."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def reseed(self, rollback: int) -> None:
        """Take the data in another order from here: called after roll-back number `rollback` (1, 2, …)."""
        ...


class MetricSink(Protocol):
    """Where metrics go, such as a tracker. step: samples seen."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...


@dataclass(frozen=True)
class Hook:
    """Something to do every so many samples and at the end, such as validation; what it returns is reported.

    It cannot disturb the global random generators. at_start: also before the first step of a training that begins.
    """

    every_samples: int
    run: Callable[[], Mapping[str, float]]
    at_start: bool = False


class Guard:
    """Judges a training by what is reported of it; this one finds nothing, so that only steps that are not finite lead to a roll-back.

    is_clean: whether nothing at all was amiss at the last judgement, so that a state saved now is one to come back to.
    Its state must be plain values: it is saved and comes back with the training's.
    """

    is_clean: bool = True

    def judge(self, values: Mapping[str, float], samples: int) -> str | None:
        """Why the training has collapsed, in words, or None. values: what was just reported, after `samples`; a guard knows the names it needs."""
        del values, samples
        return None

    def forget_windows(self) -> None:
        """After a roll-back: what was amiss before does not count any more."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        del state


@dataclass(frozen=True)
class Plan:
    """total_samples: the budget. max_seconds: stop earlier, at a checkpoint. what: the noun of the samples.

    skips_before_rollback: steps in a row that are not finite; where only the device knows, they are counted there and looked at when something is
    due. rollbacks_before_failure: then the training fails.
    good_states: how many states that proved good are kept apart to roll back to; 0 = roll back to the newest checkpoint.
    """

    total_samples: int
    report_every_samples: int
    checkpoint_every_samples: int
    max_seconds: float | None = None
    what: str = "samples"
    skips_before_rollback: int = 5
    rollbacks_before_failure: int = 3
    good_states: int = 0
    progress_every_s: float = 5.0


@dataclass(frozen=True)
class Outcome:
    """How a training ended. values: the last reported means. finished: the budget was spent, or `stopped` says why not. reasons: of roll-backs."""

    samples_seen: int
    finished: bool
    skipped_steps: int
    rollbacks: int
    values: dict[str, float]
    reasons: tuple[str, ...] = ()
    stopped: str = ""


@dataclass
class _Progress:
    """What the loop itself must remember across a resume: sums since the last report, counts of trouble.

    counts: of the steps that told each value; a penalty is not one of every step. means: by name, as of when they were last told.
    """

    sums: dict[str, Tensor | float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    means: dict[str, float] = field(default_factory=dict)
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    longest_skipped: int = 0
    rollbacks: int = 0
    reported_until: int = -1
    values: dict[str, float] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tally: Tally | None = None

    def add(self, outcome: StepOutcome) -> None:
        if isinstance(outcome.skipped, Tensor):
            if self._tally is None:
                sums = {name: float(total) for name, total in self.sums.items()}
                now = Counts(sums, self.counts, self.skipped_steps, self.skipped_in_a_row, 0)
                self._tally = Tally(outcome.skipped.device, now)
            self._tally.add(outcome.values, outcome.skipped)
            return
        if outcome.skipped:
            self.skipped_steps += 1
            self.skipped_in_a_row += 1
            self.longest_skipped = max(self.longest_skipped, self.skipped_in_a_row)
            return
        self.skipped_in_a_row = 0
        for name, value in outcome.values.items():
            # Sums in double precision on the device, so that a step need not wait for the GPU.
            self.sums[name] = self.sums.get(name, 0.0) + (value.detach().double() if isinstance(value, Tensor) else value)
            self.counts[name] = self.counts.get(name, 0) + 1

    def look(self) -> None:
        """Read what lies on the device."""
        if self._tally is None:
            return
        found, self._tally = self._tally.read(), None
        self.sums, self.counts = dict(found.sums), found.counts
        self.skipped_steps, self.skipped_in_a_row = found.skipped, found.skipped_in_a_row
        self.longest_skipped = max(self.longest_skipped, found.longest_skipped)

    def take_means(self) -> dict[str, float]:
        """The means since the last time; of what no step has told since, the mean before."""
        self.means = self.means | {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return dict(self.means)

    def state_dict(self) -> dict[str, Any]:
        self.look()
        kept = {part.name: getattr(self, part.name) for part in fields(self)}
        return {**kept, "sums": {name: float(total) for name, total in self.sums.items()}}


def backward_and_step(
    loss: Tensor, optimizer: torch.optim.Optimizer, parameters: Sequence[torch.nn.Parameter], *, clip_norm: float, devices: Devices
) -> tuple[Tensor, Tensor]:
    """Gradients of `loss`, summed over processes and clipped, then one optimizer step, unless they are not finite.

    Returns the norm before clipping and whether the step was skipped (bool), both 0-d and on the device, which is not waited for.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    return step_on_gradients(loss.detach(), [optimizer], parameters, clip_norm=clip_norm, devices=devices)


def step_on_gradients(
    loss: Tensor, optimizers: Sequence[torch.optim.Optimizer], parameters: Sequence[torch.nn.Parameter], *, clip_norm: float, devices: Devices
) -> tuple[Tensor, Tensor]:
    """`backward_and_step` from the gradients on: those that `parameters` have are this process's share."""
    devices.sum_gradients(parameters)
    norm = torch.nn.utils.clip_grad_norm_([parameter for parameter in parameters if parameter.grad is not None], clip_norm)
    # All processes have the norm of the summed gradients, but each has a loss of its own.
    is_bad = ~norm.isfinite() | (devices.sum((~loss.isfinite()).to(norm)) > 0)
    for optimizer in optimizers:
        step_unless(optimizer, is_bad)
    return norm, is_bad


def step_unless(optimizer: torch.optim.Optimizer, is_bad: Tensor) -> None:
    """One step of `optimizer`, unless `is_bad` (bool, 0-d): fused ones, and `Muon`, are told on the device, which nobody waits for; for others it is
    read.

    A step that is not taken changes neither weights nor moments nor their count.
    """
    if not (isinstance(optimizer, Muon) or all(group.get("fused") for group in optimizer.param_groups)):
        if not bool(is_bad):
            optimizer.step()
        return
    # The way by which torch's gradient scaler tells an optimizer of overflows.
    optimizer.found_inf = is_bad.float()  # type: ignore[attr-defined]
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf  # type: ignore[attr-defined]


def linear_schedule(samples: int, *, warmup_samples: int, total_samples: int, final_fraction: float) -> float:
    """Factor of the learning rate: up from 0 during the warm-up, then down in a straight line to `final_fraction` at the end."""
    if samples < warmup_samples:
        return (samples + 1) / warmup_samples
    done = (samples - warmup_samples) / max(1, total_samples - warmup_samples)
    return 1.0 + (final_fraction - 1.0) * min(1.0, done)


@dataclass
class TrainingLoop:
    """Trains until the budget is spent.

    on_rollback: told of every roll-back (1, 2, …) and of the failure after the last one, in the main process.
    why_done: why there is nothing to be gained by going on, or None; asked before every step in every process, and a matter of the state alone.
    """

    trainable: Trainable
    plan: Plan
    checkpoints: Checkpoints
    sinks: Sequence[MetricSink]
    reporter: Reporter
    devices: Devices
    hooks: Sequence[Hook] = ()
    guard: Guard = field(default_factory=Guard)
    on_rollback: Callable[[int, str], None] = lambda number, why: None
    why_done: Callable[[], str | None] = lambda: None

    def __post_init__(self) -> None:
        self.good = GoodStates(self.checkpoints.own_folder / "good", self.plan.good_states)
        self.progress = _Progress()
        self.started = self.last_line = time.monotonic()
        self.started_at_samples = self.trainable.samples_seen
        self.saved_at_samples = -1
        # Time and samples of the steps since the last report, without what is done between steps.
        self.step_seconds, self.step_samples = 0.0, 0

    def run(self, resume_from: dict[str, Any] | None) -> Outcome:
        """resume_from: what `checkpoints.latest()` gave.

        SIGTERM and SIGINT finish the step, write a checkpoint and exit with 143 or 130. Raises TrainingError when roll-backs do not help.
        """
        if resume_from is None:
            self.start()
        else:
            self.restore(resume_from)
            total = self.plan.total_samples
            self.reporter.log(f"continuing after {min(self.trainable.samples_seen, total):,} of {total:,} {self.plan.what}")
        with _asked_to_end() as signal_number:
            return self.until_done(signal_number)

    def start(self) -> None:
        """What comes before the first step of a training that begins: the hooks that want it, and a state to come back to."""
        values = self._run_hooks(lambda hook: hook.at_start)
        if values:
            self.progress.reported_until = self.trainable.samples_seen
            self.progress.values = values
            self.guard.judge(values, self.trainable.samples_seen)
            self._tell(values)
        self.save(is_due=True)

    def save(self, *, is_due: bool = False) -> None:
        """Checkpoint now, unless that has been done, or the last steps were bad: a bad state is nothing to come back to.

        is_due: not because of a signal or the clock, which must not decide what a roll-back finds.
        """
        samples = self.trainable.samples_seen
        self.progress.look()
        if samples == self.saved_at_samples or self.progress.skipped_in_a_row:
            return
        if self.devices.is_main:
            path = self.checkpoints.save(samples, self._payload())
            if is_due and self.guard.is_clean:
                self.good.add(path)
        self.saved_at_samples = samples
        self.devices.wait()

    def _payload(self) -> dict[str, Any]:
        return {
            "state": self.trainable.state_dict(),
            "random": global_random_state(),
            "progress": self.progress.state_dict(),
            "guard": self.guard.state_dict(),
        }

    def restore(self, payload: dict[str, Any], *, keep_progress: bool = False) -> None:
        self.trainable.load_state_dict(payload["state"])
        # The state is that of rank 0. The others go on with generators of their own, so bit-equality is promised for one process.
        if self.devices.is_main:
            set_global_random_state(payload["random"])
        if not keep_progress:
            self.progress = _Progress(**payload["progress"])
            self.guard.load_state_dict(payload["guard"])
            if self.devices.is_main:
                # States written after this checkpoint by a process that died will come again.
                self.good.drop_after(payload["samples"])
        self.started, self.started_at_samples = time.monotonic(), self.trainable.samples_seen
        self.saved_at_samples = self.trainable.samples_seen

    def until_done(self, signal_number: Callable[[], int]) -> Outcome:
        while self.trainable.samples_seen < self.plan.total_samples and self.why_done() is None:
            before = self.trainable.samples_seen
            self.progress.add(self._timed_step())

            # Trouble first: a state that is to be left behind is never saved.
            if self._is_anything_due(before):
                self._look()
            if self.progress.longest_skipped >= self.plan.skips_before_rollback:
                self._roll_back(f"{self.progress.longest_skipped} steps in a row had a loss or gradient that is not finite")
                continue
            self.progress.longest_skipped = self.progress.skipped_in_a_row
            collapse = self._report(before)
            if self.devices.any(collapse is not None):
                self._roll_back(collapse or "another process found a collapse")
                continue
            # Every process takes the same way out: whoever saved alone would leave the others waiting for its gradients.
            self._print_progress()
            if self._crossed(self.plan.checkpoint_every_samples, before):
                self.save(is_due=True)
            if self.devices.any(bool(signal_number())):
                self.save()
                self.reporter.log(f"terminated after {self.trainable.samples_seen:,} {self.plan.what}; the same command again continues from here")
                raise SystemExit(128 + (signal_number() or signal.SIGTERM))
            if self.devices.any(self._is_out_of_time()):
                break
        self.save()
        samples, total, told = self.trainable.samples_seen, self.plan.total_samples, self.progress
        stopped = (self.why_done() or "") if samples < total else ""
        if stopped:
            self.reporter.log(f"stopped after {samples:,} of {total:,} {self.plan.what}: {stopped}")
        is_finished = samples >= total or bool(stopped)
        return Outcome(samples, is_finished, told.skipped_steps, told.rollbacks, told.values, tuple(told.reasons), stopped)

    def _timed_step(self) -> StepOutcome:
        started = time.monotonic()
        outcome = self.trainable.step()
        self.step_seconds += time.monotonic() - started
        self.step_samples += outcome.samples
        return outcome

    def _is_anything_due(self, before: int) -> bool:
        every = [self.plan.report_every_samples, self.plan.checkpoint_every_samples, *(hook.every_samples for hook in self.hooks)]
        return self.trainable.samples_seen >= self.plan.total_samples or any(self._crossed(samples, before) for samples in every)

    def _look(self) -> None:
        """Read what the device has counted. The wait for what it still has to do is part of its steps' time."""
        started = time.monotonic()
        self.progress.look()
        self.step_seconds += time.monotonic() - started

    def _report(self, before: int) -> str | None:
        """Report what is due. Returns why the guard finds a collapse in it, if it does."""
        samples = self.trainable.samples_seen
        is_last = samples >= self.plan.total_samples
        values: dict[str, float] = {}
        # What is due is a matter of the number of samples alone, so a resumed training reports at the same ones.
        if (is_last or self._crossed(self.plan.report_every_samples, before)) and self.progress.sums:
            # Reading a mean waits for all the steps that were only queued: a part of their time.
            started = time.monotonic()
            values = self.progress.take_means()
            self.step_seconds += time.monotonic() - started
        values |= self._run_hooks(lambda hook: is_last or self._crossed(hook.every_samples, before))
        if not values:
            return None
        collapse = self.guard.judge(values, samples)
        # After a roll-back the same numbers of samples come again; a series of metrics goes only forward.
        if samples <= self.progress.reported_until:
            return collapse
        self.progress.reported_until = samples
        self.progress.values = self.progress.values | values
        trouble = {"skipped_steps": float(self.progress.skipped_steps), "rollbacks": float(self.progress.rollbacks)}
        self._tell({**values, **trouble, **self._machine()})
        return collapse

    def _machine(self) -> dict[str, float]:
        """What depends on the machine and the moment, by the names in `stats_files.MACHINE`."""
        values = {"samples_per_second": self._rate(), "peak_memory_mib": self.devices.peak_memory_mib()}
        if self.plan.what == "images" and self.step_samples:
            values["seconds_per_kimg"] = 1000 * self.step_seconds / self.step_samples
        flops_per_sample = getattr(self.trainable, "flops_per_sample", None)
        if flops_per_sample and self.step_samples:
            rate = flops_per_sample * self.step_samples / self.step_seconds
            values |= flop_rates(rate, self.devices.device, self.devices.world_size)
        self.step_seconds, self.step_samples = 0.0, 0
        return values

    def _tell(self, values: Mapping[str, float]) -> None:
        if self.devices.is_main:
            for sink in self.sinks:
                sink.metrics(self.trainable.samples_seen, values)

    def _run_hooks(self, is_due: Callable[[Hook], bool]) -> dict[str, float]:
        values: dict[str, float] = {}
        for hook in self.hooks:
            if is_due(hook):
                with _random_state_preserved():
                    values |= hook.run()
        return values

    def _roll_back(self, reason: str) -> None:
        self.progress.rollbacks += 1
        rollbacks, what = self.progress.rollbacks, self.plan.what
        where = f"after {self.trainable.samples_seen:,} {what}: {reason}"
        self.progress.reasons.append(where)
        if self.devices.is_main:
            self.on_rollback(rollbacks, where)
        if rollbacks > self.plan.rollbacks_before_failure:
            raise TrainingError(f"{where}, also after {rollbacks - 1} roll-backs; lower the learning rate, or look for extreme values in the inputs")
        # The training's state goes back; counts of trouble, and what has been reported, do not.
        self.progress.look()
        payload = self._state_to_come_back_to()
        self.restore(payload, keep_progress=True)
        self.progress.skipped_in_a_row = self.progress.longest_skipped = 0
        for name in ("sums", "counts", "means"):
            setattr(self.progress, name, dict(payload["progress"][name]))
        self.guard.forget_windows()
        self.trainable.reseed(rollbacks)
        if self.plan.good_states:
            self._forget_the_abandoned_way()
        self.reporter.log(f"WARNING: {where}; rolled back to {self.trainable.samples_seen:,} {what} (roll-back {rollbacks}), data in another order")

    def _state_to_come_back_to(self) -> dict[str, Any]:
        """The newest good state. It is used up: a second collapse before another state has proved good goes further back."""
        payload = self.good.newest()
        self.devices.wait()
        if payload is None:
            payload = self.checkpoints.latest()
        elif self.devices.is_main:
            self.good.use_up(payload["samples"])
        assert payload is not None, "the loop writes a checkpoint before its first step"
        return payload

    def _forget_the_abandoned_way(self) -> None:
        """Checkpoints of the way that was left are removed and the new one's beginning is saved, so that a resume takes the new one."""
        if self.devices.is_main:
            self.checkpoints.drop_after(self.trainable.samples_seen)
            self.checkpoints.save(self.trainable.samples_seen, self._payload())
        self.devices.wait()

    def _crossed(self, every: int, before: int) -> bool:
        return before // every != self.trainable.samples_seen // every

    def _rate(self) -> float:
        return (self.trainable.samples_seen - self.started_at_samples) / max(1e-9, time.monotonic() - self.started)

    def _print_progress(self) -> None:
        now = time.monotonic()
        if now - self.last_line < self.plan.progress_every_s or not self.devices.is_main:
            return
        self.last_line = now
        seen, before = self.trainable.samples_seen, self.started_at_samples
        line = progress_line(seen, self.plan.total_samples, now - self.started, self.plan.what, before=before)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in self.progress.values.items() if name.endswith("loss"))
        self.reporter.progress_words(line + (f"; {shown}" if shown else ""))

    def _is_out_of_time(self) -> bool:
        return self.plan.max_seconds is not None and time.monotonic() - self.started >= self.plan.max_seconds


@contextlib.contextmanager
def _random_state_preserved() -> Iterator[None]:
    state = global_random_state()
    try:
        yield
    finally:
        set_global_random_state(state)


@contextlib.contextmanager
def _asked_to_end() -> Iterator[Callable[[], int]]:
    """While the block runs, the first SIGTERM or SIGINT is only noted: gives its number, or 0. The next SIGINT ends at once.

    Outside the main thread signals cannot be caught, and none is noted. Whoever was deaf to a signal before, as what a shell sends to the
    background is to SIGINT, stays so.
    """
    noted: list[int] = []
    previous: dict[int, Any] = {}

    def note(number: int, _frame: object) -> None:
        noted.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        for heard in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(heard) is not signal.SIG_IGN:
                previous[heard] = signal.signal(heard, note)
    except ValueError:
        yield lambda: 0
        return
    try:
        yield lambda: noted[0] if noted else 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
