"""One job for every fine-tuning of a transformers model: what `training.loop.job` asks of a model, from a `Task`.

    JOB = fine_tuning_job("title_gpt2", "training.words.titles.train", TitleOptions, inputs, open_task)
    run_fine_tuning(JOB, __doc__, argv)

The output is a folder that transformers loads by itself, with README.md (the model card), data_ids.json (the content id of each input, by which the
data behind a model are found), training_summary.json and plots/curves/.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from stages.output_folder import OutputFolder
from stages.reporting import Reporter
from training.loop.devices import Devices
from training.loop.job import Companions, Job, Training, Workplace, run_job
from training.loop.loop import Hook, Outcome
from training.loop.model_card import model_card, stage_description
from training.loop.seeding import seed_everything
from training.tracking.tracker import InputArtifact
from training.words.examples import WordsError
from training.words.fine_tuning import FineTuning
from training.words.model_folder import save_model
from training.words.trainer import FineTuner, Task

OptionsT = TypeVar("OptionsT", bound=FineTuning)
OpenTask = Callable[[Path, OptionsT, Reporter], Task]


def fine_tuning_job(
    stage: str,
    module: str,
    options: type[OptionsT],
    inputs: Callable[[Path, OptionsT], Mapping[str, Path]],
    open_task: OpenTask[OptionsT],
) -> Job[OptionsT]:
    """open_task: reads the inputs below the data folder and builds model and examples; the global generators are seeded before. See `Job`.

    A folder to start from is an input like the others: its content decides the weights, and is named on the model card.
    """

    def all_inputs(folder: Path, config: OptionsT) -> Mapping[str, Path]:
        return _with_start(inputs(folder, config), config.start_from)

    def open_training(folder: Path, config: OptionsT, devices: Devices, reporter: Reporter) -> Training:
        seed_everything(config.seed)
        task = open_task(folder, config, reporter)
        tuner = FineTuner(task, config, devices, reporter)
        if config.early_stopping_evaluations and not tuner.judged:
            reporter.log("WARNING: there are no held-out examples, so the training does not stop early")
        begin = _begin(stage, module, all_inputs(folder, config), tuner)
        return Training(tuner, begin, size=task.size, outcome="validation_loss", signature=task.signature)

    return Job(stage, module, options, all_inputs, open_training, budget="total_samples", libraries=("torch", "transformers", "tokenizers"))


def run_fine_tuning(
    job: Job[OptionsT], description: str | None, argv: Sequence[str] | None, *, expected: tuple[type[Exception], ...] = ()
) -> int:
    """The program of the stage; returns its exit code. expected: errors of the model's own beside WordsError."""
    return run_job(job, description, argv, expected=(WordsError, *expected))


def _with_start(inputs: Mapping[str, Path], start: str | None) -> dict[str, Path]:
    known = {path.resolve() for path in inputs.values()}
    is_new = start is not None and Path(start).is_dir() and Path(start).resolve() not in known
    return {**inputs, **({"start_from": Path(str(start))} if is_new else {})}


def _begin(stage: str, module: str, inputs: Mapping[str, Path], tuner: FineTuner) -> Callable[[Workplace], Companions]:
    def begin(place: Workplace) -> Companions:
        def evaluate() -> dict[str, float]:
            values = tuner.evaluate()
            if tuner.devices.is_main:
                _show(tuner, place)
            return values

        def save(output: OutputFolder, outcome: Outcome) -> dict[str, float]:
            artifacts = [InputArtifact(name, path, place.input_ids[name]) for name, path in inputs.items()]
            return _write(output, stage, module, artifacts, tuner, outcome, place)

        return Companions(save, [Hook(tuner.config.evaluate_every_samples, evaluate)], why_done=tuner.why_done)

    return begin


def _show(tuner: FineTuner, place: Workplace) -> None:
    """What the model makes now, into the training's folder and to the tracker."""
    name = f"samples/{tuner.samples_seen:012d}"
    for file, shown in tuner.task.samples(tuner.judged_model()).items():
        path = place.folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(shown, str):
            path.write_text(shown, encoding="utf-8")
        else:
            shown(path)
        place.tracker.artifact(path, name)


def _write(
    output: OutputFolder, stage: str, module: str, inputs: Sequence[InputArtifact], tuner: FineTuner, outcome: Outcome, place: Workplace
) -> dict[str, float]:
    """The model, its card, and how the training went. Returns what is worth telling."""
    task, model = tuner.task, tuner.final_model()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    best = {"best_validation_loss": tuner.best_loss} if tuner.best is not None else {}
    judged = {name: value for name, value in outcome.values.items() if name.startswith(("validation_", "loss"))}
    numbers = {"parameters": parameters, **judged, **best}
    summary = {
        "samples_seen": outcome.samples_seen,
        "what": tuner.config.what,
        "finished": outcome.finished,
        "stopped": outcome.stopped,
        "start_from": tuner.config.start_from,
        "parameters": parameters,
        "skipped_steps": outcome.skipped_steps,
        "rollbacks": outcome.rollbacks,
        "examples": {"train": len(task.train), "valid": len(task.valid), **task.counts},
        "last_values": {name: round(value, 6) for name, value in sorted({**outcome.values, **best}.items())},
    }
    description = stage_description(place.state.resolve().parent, stage)
    card = model_card(stage, module, description, inputs, {name: round(value, 6) for name, value in numbers.items()})
    save_model(output.folder, model, task.savers, _card(card, task))
    output.write_json("data_ids.json", {item.name: item.id for item in inputs})
    output.write_json("training_summary.json", summary)
    return numbers


def _card(card: str, task: Task) -> str:
    """The card with the lines that model hubs read, and what the model is not good for."""
    pipeline = f"pipeline_tag: {task.pipeline}\n" if task.pipeline else ""
    limits = f"\n## Limits\n\n{task.limits.strip()}\n" if task.limits else ""
    return f"---\nlibrary_name: transformers\n{pipeline}---\n\n{card.rstrip()}\n{limits}"

