"""One way to make a training stage: all that lies between the parameters and the output folder and is the same for every model.

A model says in a `Job` what its stage is called, what it reads and how it is opened; `run_job` is its program. Below the state folder a training has

    checkpoints/<stage>/<run key>/     its full states, from which the same command continues
    trainings/<stage>/<run key>/       stats.jsonl and what the model keeps on the way
    tracking/<stage>/<run key>/        the journal that MLflow is told from
    tensorboard/<stage>/<run key>/     event files

and its output has, beside what the model saves, plots/curves/, a CSV file for each number reported on the way.
"""

import functools
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from stages.artifact_id import content_id
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter, SilentReporter
from training.loop.checkpoint import CheckpointError, Checkpoints
from training.loop.devices import Devices, neighbours, open_devices
from training.loop.loop import Guard, Hook, Outcome, Plan, Trainable, TrainingError, TrainingLoop
from training.loop.model_card import model_card, stage_description
from training.loop.run_key import run_key
from training.loop.stats_files import EventFiles, StatsFile, write_curves
from training.tracking.appearance import amount, run_name
from training.tracking.tracker import InputArtifact, Signature, Tracker, TrackingError, open_tracker


class Options(Protocol):
    """What the section of params.yaml of every training says beside what is the model's own. A frozen dataclass.

    batch_size: samples of a step, the largest if they differ, over all processes. side_by_side: of one forward and backward pass in one process.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def plan(self) -> Plan: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def side_by_side(self) -> int: ...
    @property
    def keep_checkpoints(self) -> int: ...

    def decisive(self) -> dict[str, Any]:
        """The values that decide the weights: a training continues across changes of all others."""
        ...


@dataclass(frozen=True)
class Workplace:
    """Where a training works. folder: its own, below the state folder `state`. input_ids: content ids by the names of the inputs."""

    folder: Path
    state: Path
    input_ids: Mapping[str, str]
    tracker: Tracker
    reporter: Reporter

    @property
    def stats(self) -> Path:
        return self.folder / "stats.jsonl"


@dataclass(frozen=True)
class Companions:
    """What goes with the loop.

    save: writes the trained model into the new output folder and returns the numbers worth telling. why_done: see `TrainingLoop`.
    """

    save: Callable[[OutputFolder, Outcome], Mapping[str, float]]
    hooks: Sequence[Hook] = ()
    guard: Guard = field(default_factory=Guard)
    why_done: Callable[[], str | None] = lambda: None


@dataclass(frozen=True)
class Training:
    """A model that is ready to learn. begin: asked once, in every process, when the run is being recorded and before the first step.

    size: of the model in a word or two, such as `32 px`, for people. outcome: the number among those of `save` that says most.
    signature: what the trained model takes and gives.
    """

    trainable: Trainable
    begin: Callable[[Workplace], Companions]
    size: str = ""
    outcome: str = ""
    signature: Signature | None = None


OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass(frozen=True)
class Job(Generic[OptionsT]):
    """A training stage.

    module:      the program, e.g. "training.polymers.gpt.train": its code is part of what decides the weights.
    options:     the dataclass of the stage's section of params.yaml.
    inputs:      the folders it reads, by the names of their stages, from the data folder and the options.
    open:        reads them and builds what learns. Nothing is recorded yet: what is wrong with the parameters should come to light here.
    budget:      the parameter that says how many samples there are to be.
    libraries:   distributions whose version decides the weights.
    """

    stage: str
    module: str
    options: type[OptionsT]
    inputs: Callable[[Path, OptionsT], Mapping[str, Path]]
    open: Callable[[Path, OptionsT, Devices, Reporter], Training]
    budget: str
    libraries: tuple[str, ...] = ("torch",)


Adapt = Callable[[Job[OptionsT], Namespace], Job[OptionsT]]


def run_job(
    job: Job[OptionsT],
    description: str | None,
    argv: Sequence[str] | None,
    *,
    expected: tuple[type[Exception], ...],
    add_flags: Callable[[ArgumentParser], None] | None = None,
    adapt: Adapt | None = None,
) -> int:
    """The program of a training stage; returns its exit code. expected: the model's own errors. See stages/program.py for shared flags and codes.

    add_flags, adapt: flags of the model's own, and what they make of the job; `adapt` may change the arguments as well.
    """
    failures = (*expected, CheckpointError, TrainingError, TrackingError)
    return program(description, functools.partial(_run, job, adapt), argv, expected=failures, configure=functools.partial(_add_flags, add_flags))


def _add_flags(add_more: Callable[[ArgumentParser], None] | None, parser: ArgumentParser) -> None:
    if add_more is not None:
        add_more(parser)
    parser.add_argument(
        "--state", type=Path, default=Path(".figment"), metavar="DIR", help="folder of checkpoints, curves and tracking (default: %(default)s)"
    )
    parser.add_argument("--max-seconds", type=float, metavar="S", help="stop at a checkpoint after this long; short for --set max_seconds=S")
    parser.add_argument("--from-scratch", action="store_true", help="forget the checkpoints of this very training and begin anew")


def _run(job: Job[OptionsT], adapt: Adapt | None, arguments: Namespace, reporter: Reporter) -> None:
    job = adapt(job, arguments) if adapt is not None else job
    shorthand = [f"max_seconds={arguments.max_seconds}"] if arguments.max_seconds is not None else []
    options = load_params(arguments.params, job.stage, job.options, overrides=arguments.overrides + shorthand)
    with open_devices() as devices:
        if warning := neighbours(devices.device):
            reporter.log(warning)
        _check_batch(job.stage, options, devices.world_size)
        _train(job, arguments, options, reporter if devices.is_main else SilentReporter(), devices)


def _check_batch(stage: str, options: Options, world_size: int) -> None:
    """Every process must have as much to do as the others, in equal parts."""
    share = options.batch_size // world_size or 1
    if options.batch_size % (world_size * min(options.side_by_side, share)):
        raise TrainingError(
            f"{stage}: a batch of {options.batch_size}, {options.side_by_side} at a time, does not divide among {world_size} processes; "
            "choose a multiple"
        )


def _train(job: Job[OptionsT], arguments: Namespace, options: OptionsT, reporter: Reporter, devices: Devices) -> None:
    training, plan = job.open(arguments.data, options, devices, reporter), options.plan
    paths = job.inputs(arguments.data, options)
    inputs = [InputArtifact(name=name, path=path, id=content_id(path)) for name, path in paths.items()]
    ids = {item.name: item.id for item in inputs}
    key = run_key(job.stage, job.module, config=options.decisive(), inputs=ids, libraries=job.libraries)
    folders = {name: arguments.state / name / job.stage for name in ("checkpoints", "trainings", "tensorboard")}

    # What may be continued: the checkpoints of exactly these inputs, decisive options and code.
    checkpoints = Checkpoints(folders["checkpoints"], key, options.keep_checkpoints, reporter)
    if arguments.from_scratch and devices.is_main:
        checkpoints.remove()
    devices.wait()
    resume_from = checkpoints.latest()
    resume_samples = resume_from["samples"] if resume_from else None
    _check_budget(job, options, checkpoints.own_folder, resume_samples or 0)

    # Where numbers go: the tracker's journal first, then files that can be watched and kept.
    description = stage_description(arguments.state.resolve().parent, job.stage)
    title = run_name(inputs[0].name if inputs else job.stage, training.size)
    tracker = open_tracker(
        job.stage,
        run_key=key,
        config=asdict(options),
        inputs=inputs,
        state_dir=arguments.state,
        resume_step=resume_samples,
        reporter=reporter,
        title=title,
        description=description,
        program=job.module,
    )
    place = Workplace(folders["trainings"] / key, arguments.state, ids, tracker, reporter)
    events_folder = folders["tensorboard"] / key if devices.is_main else None
    with tracker, EventFiles(events_folder, resume_samples=resume_samples, say=reporter.log) as events:
        if resume_from is None and devices.is_main:
            # Of a training that was forgotten.
            shutil.rmtree(place.folder, ignore_errors=True)
        stats = StatsFile(place.stats if devices.is_main else None, what=plan.what, resume_samples=resume_samples)
        companions = training.begin(place)

        def note_rollback(number: int, why: str) -> None:
            tracker.tags({f"figment.rollback_{number}": why})
            stats.append(training.trainable.samples_seen, {"rollback": number, "why": why})

        sinks, hooks, guard, why_done = (tracker, events, stats), companions.hooks, companions.guard, companions.why_done
        loop = TrainingLoop(training.trainable, plan, checkpoints, sinks, reporter, devices, hooks, guard, note_rollback, why_done)
        outcome = loop.run(resume_from)
        # The output, and what its readers are told. The last checkpoint stays: a larger budget, or an output that was lost, continues from it.
        if devices.is_main:
            with OutputFolder(arguments.data / job.stage) as output:
                numbers = companions.save(output, outcome)
                write_curves(place.stats, output.folder / "plots/curves", what=plan.what)
            checkpoints.keep_last_only()
            card = model_card(job.stage, job.module, description, inputs, numbers)
            tracker.register_model(job.stage, output.target, output_id=content_id(output.target), card=card, signature=training.signature)
            reached = f"{training.outcome} {numbers[training.outcome]:.3g}" if training.outcome in numbers else ""
            columns = [f"params.{job.budget}", *(f"metrics.{name}" for name in numbers if name in outcome.values)]
            tracker.name(run_name(title, amount(outcome.samples_seen, plan.what)), reached, columns)
            _tell(job.stage, plan, outcome, numbers, place)


def _check_budget(job: Job[OptionsT], options: OptionsT, folder: Path, done: int) -> None:
    """A training is never taken back: there is no way from the weights after many samples to those after fewer."""
    plan = options.plan
    if done >= plan.total_samples + options.batch_size:
        raise TrainingError(
            f"{folder}: this training has gone on for {done:,} {plan.what}, and {job.budget} asks for {plan.total_samples:,}; "
            f"raise {job.budget}, or train anew with --from-scratch"
        )


def _tell(stage: str, plan: Plan, outcome: Outcome, numbers: Mapping[str, float], place: Workplace) -> None:
    seen = f"{outcome.samples_seen:,}"
    if not outcome.finished:
        place.reporter.log(
            f"{stage}: max_seconds reached after {seen} of {plan.total_samples:,} {plan.what}; the output holds the model so far, "
            "and the same command again continues (max_seconds may be changed)"
        )
    if outcome.rollbacks:
        place.tracker.tags({"figment.rollbacks": str(outcome.rollbacks)})
    place.reporter.metadata(samples_seen=outcome.samples_seen, finished=outcome.finished, rollbacks=outcome.rollbacks, **numbers)
    shown = (f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:.4g}" for name, value in sorted(numbers.items()))
    place.reporter.log(f"{stage}: {seen} {plan.what} seen; {', '.join(shown)}")
