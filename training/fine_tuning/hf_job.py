"""One job for every fine-tuning of a transformers model: what `training.loop.job` asks of a model, from a `Task`.

The output is a folder for transformers, with README.md (the model card), data_ids.json (content ids by input), training_summary.json, plots/curves/.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from stages.output_folder import OutputFolder
from stages.reporting import Reporter
from training.fine_tuning.examples import TuningError
from training.fine_tuning.model_folder import save_model
from training.fine_tuning.options import FineTuning
from training.fine_tuning.trainer import FineTuner, Task
from training.loop.devices import Devices
from training.loop.drivers import why_no_gpu
from training.loop.job import Companions, Job, Training, Workplace, run_job
from training.loop.loop import Hook, Outcome
from training.loop.memory import CudaMeter
from training.loop.model_card import model_card, stage_description
from training.loop.seeding import seed_everything
from training.tracking.tracker import InputArtifact

OptionsT = TypeVar("OptionsT", bound=FineTuning)
Inputs = Callable[[Path, OptionsT], Mapping[str, Path]]
OpenTask = Callable[[Path, OptionsT, Reporter], Task]


def fine_tuning_job(stage: str, module: str, options: type[OptionsT], inputs: Inputs[OptionsT], open_task: OpenTask[OptionsT]) -> Job[OptionsT]:
    """See `Job`. open_task: reads the inputs below the data folder, builds model and examples; the global generators are seeded before."""

    def all_inputs(folder: Path, config: OptionsT) -> Mapping[str, Path]:
        # A folder to start from is an input like the others: its content decides the weights.
        named, start = inputs(folder, config), Path(config.start_from or "no folder")
        is_new = start.is_dir() and start.resolve() not in {path.resolve() for path in named.values()}
        return {**named, **({"start_from": start} if is_new else {})}

    def open_training(folder: Path, config: OptionsT, devices: Devices, reporter: Reporter) -> Training:
        seed_everything(config.seed)
        tuner = FineTuner(open_task(folder, config, reporter), config, devices, reporter)
        if devices.device.type == "cuda":
            tuner.fit_memory(CudaMeter(devices.device))
        elif why := why_no_gpu():
            reporter.log(f"{stage}: WARNING: it trains on the CPU: {why}")
        if not tuner.judged:
            reporter.log(f"{stage}: WARNING: no held-out examples, so nothing is measured on them and the training does not stop early")

        def begin(place: Workplace) -> Companions:
            def save(output: OutputFolder, outcome: Outcome) -> dict[str, float]:
                artifacts = [InputArtifact(name, path, place.input_ids[name]) for name, path in all_inputs(folder, config).items()]
                parameters = sum(parameter.numel() for parameter in tuner.model.parameters())
                # Of the weights that are saved, which early stopping may have kept from an evaluation before the last.
                values = {**outcome.values, **tuner.best_values}
                numbers = {name: value for name, value in values.items() if name.startswith(("validation_", "loss"))}
                numbers |= {"parameters": parameters, **({"best_validation_loss": tuner.best_loss} if tuner.best else {})}
                card = model_card(stage, module, stage_description(place.state.resolve().parent, stage), artifacts, numbers)
                _write(output, tuner, outcome, numbers, card)
                output.write_json("data_ids.json", dict(place.input_ids))
                tuner.task.beside(output, place.input_ids)
                return numbers

            return Companions(save, [Hook(config.evaluate_every_samples, lambda: _evaluate(tuner, place))], why_done=tuner.why_done)

        return Training(tuner, begin, size=tuner.task.size, outcome="validation_loss", signature=tuner.task.signature)

    return Job(stage, module, options, all_inputs, open_training, budget="total_samples", libraries=("torch", "transformers", "tokenizers"))


def run_fine_tuning(job: Job[OptionsT], description: str | None, argv: Sequence[str] | None, *, expected: tuple[type[Exception], ...] = ()) -> int:
    """The program of the stage; returns its exit code. expected: errors of the model's own beside TuningError."""
    return run_job(job, description, argv, expected=(TuningError, *expected))


def _evaluate(tuner: FineTuner, place: Workplace) -> dict[str, float]:
    """Numbers, and what the model makes now: into the training's folder and to the tracker."""
    model, folder = tuner.judged_model(), f"samples/{tuner.samples_seen:012d}"
    values = tuner.evaluate(model)
    for name, shown in (tuner.task.samples(model) if tuner.devices.is_main else {}).items():
        path = place.folder / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shown, encoding="utf-8") if isinstance(shown, str) else shown(path)
        place.tracker.artifact(path, folder)
    return values


def _write(output: OutputFolder, tuner: FineTuner, outcome: Outcome, numbers: Mapping[str, float], card: str) -> None:
    """The model, its card, and how the training went."""
    task = tuner.task
    # The lines at the top are those that model hubs read.
    front = f"---\nlibrary_name: transformers\n{f'pipeline_tag: {task.pipeline}' if task.pipeline else ''}\n---\n\n"
    limits = f"\n## Limits\n\n{task.limits.strip()}\n" if task.limits else ""
    save_model(output.folder, tuner.final_model(), task.savers, f"{front}{card.rstrip()}\n{limits}")
    summary = {name: getattr(outcome, name) for name in ("samples_seen", "finished", "stopped", "skipped_steps", "rollbacks")}
    summary |= {"what": tuner.config.what, "start_from": tuner.config.start_from}
    summary["examples"] = {"train": len(task.train), "valid": len(task.valid), **task.counts}
    summary |= task.facts
    summary["last_values"] = {name: round(value, 6) for name, value in {**outcome.values, **numbers}.items()}
    output.write_json("training_summary.json", summary)
