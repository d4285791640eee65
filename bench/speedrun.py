"""How many CPU seconds each model takes to a target on held-out data: the speedrun table of docs/SPEEDRUN.md, and what each trick is worth.

    python -m bench.speedrun                                              # a look: one tiny model, one seed
    python -m bench.speedrun --scale std --seeds 3 --ablate --work DIR --json DIR/runs.json    # everything: an hour on one core
    python -m bench.speedrun --scale std --seeds 3 --model polygpt        # one model beside its record: better, worse or not told apart
    python -m bench.speedrun --scale std --runs DIR/runs.json --write docs/SPEEDRUN.md    # these runs become the record, in bench/speedrun.json too

Models, targets and tricks are in bench/speedrun.yaml. Inputs are made once in the folder WORK by the stages of dvc.yaml, from what the project makes
up itself and the rdkit wheel holds; then each model trains by its own command, one process and one thread at a time. The clock is that process's
CPU time from its start, imports and evaluations included, at the first evaluation that meets the target; wall time on an idle machine differs.
While pictures are judged here the training stands still. A run that does not get there counts as failed and is shown. Runs are written as they end;
one that is in the file of `--json` is not run again.
"""

import compileall
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import psutil

from bench.kitchen import ALONE, Kitchen
from bench.measuring import ROOT, parser, processor
from formats.image_shards import ImageShards, shard_name, write_shard
from stages.params import read_yaml
from training.gans.grids import load_picture
from training.gans.snapshots import SPREAD
from training.metrics.images import open_extractor, score_images
from training.metrics.intervals import Estimate, Spread
from training.reports.numbers import ABSENT, cell
from training.reports.pictures import draw_panels

RECORD = ROOT / "bench/speedrun.json"
MOST_CPU_S = 600.0
# Of a set of pictures that names no split, every so-manieth is held out.
HELD_OUT_EVERY = 5
_LOOK_EVERY_S = 0.05
SEEDS_OF_A_RECORD = 3
BEGIN, END = "<!-- written by python -m bench.speedrun --write: begin -->", "<!-- end -->"


@dataclass(frozen=True)
class Race:
    """What a model runs for, from the stage of its name.

    goal: held-out numbers of one evaluation and their bounds, such as `validation_loss <= 0.9, accuracy >= 0.5`; the first is drawn.
    what, why, gpu: the first number and the goal in words, and the goal of a GPU row. settings: parameters that differ from params.yaml.
    pictures: the dataset whose held-out pictures the fakes of a snapshot are compared with; the number is then one of training.metrics.images.
    tricks: {name: parameters that leave it out}. tried: {name: parameters that bring it in}.
    """

    goal: str
    what: str
    why: str
    gpu: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    pictures: str = ""
    tricks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tried: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def bounds(self) -> list[tuple[str, str, float]]:
        """Name, `<=` or `>=`, bound. Raises ValueError for a goal that is none."""
        bounds = [re.fullmatch(r"(\w+) (<=|>=) (\S+)", part) for part in self.goal.split(", ")]
        if None in bounds:
            raise ValueError(f"'{self.goal}' is no goal; expected such as 'validation_loss <= 0.9'")
        return [(found[1], found[2], float(found[3])) for found in bounds if found]

    def is_met(self, values: Sequence[float]) -> bool:
        """values: of an evaluation, in the order of `bounds`."""
        pairs = zip(values, self.bounds, strict=True)
        return all((value <= bound) if sense == "<=" else (value >= bound) for value, (_, sense, bound) in pairs)

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """Parameters that differ from params.yaml, by what is changed in words; of the record itself, nothing: ""."""
        named = {**{f"without {name}": given for name, given in self.tricks.items()}, **{f"with {name}": given for name, given in self.tried.items()}}
        return {"": dict(self.settings), **{change: {**self.settings, **given} for change, given in named.items()}}


@dataclass(frozen=True)
class Run:
    """One training. change, asked: of `Race.changes`.

    cpu_s: at the target, or of all of it where it was not reached, and `why` says so. curve: [CPU seconds, value, …] by evaluation, in the order of
    `Race.bounds`.
    """

    model: str
    change: str
    seed: int
    goal: str
    asked: dict[str, Any]
    cpu_s: float
    reached: bool
    curve: list[list[float]]
    date: str
    processor: str
    why: str = ""

    def __str__(self) -> str:
        ending = "" if self.reached else f", FAILED: {self.why}"
        return f"{self.date} {self.model}, {self.change or 'as it is'}, seed {self.seed}: {self.cpu_s:.1f} CPU-s{ending}"


def read_races(*, is_smoke: bool = False) -> dict[str, Race]:
    """Those of bench/speedrun.yaml, or for a look one that a moment's training wins."""
    races = {name: Race(**stated) for name, stated in read_yaml(ROOT / "bench/speedrun.yaml").items()}
    settings = {"total_sentences": 640, "validate_every": 64}
    return {"text_mle": replace(races["text_mle"], goal="validation_perplexity <= 120", settings=settings)} if is_smoke else races


def race(kitchen: Kitchen, model: str, stated: Race, *, change: str = "", seed: int = 0) -> Run:
    """Train until the target is met, for at most MOST_CPU_S. A training that breaks is a failed run, with the end of what it said as `why`."""
    asked = stated.changes[change]
    with tempfile.TemporaryDirectory(prefix=f"{model}-", dir=kitchen.work) as name:
        folder = Path(name)
        judge = _judge(stated, lay_out(kitchen, model, stated, folder / "data"))
        command = [*kitchen.command(model, folder / "data", seed=seed, **asked), "--state", str(folder / "state")]
        variables = {**os.environ, **ALONE, "PYTHONPATH": str(ROOT), "FIGMENT_TRACK": "none"}
        with (folder / "said").open("w+b") as said:
            process = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=said)
            try:
                cpu_s, reached, curve = _watch(process, folder / "state/trainings" / model, stated, judge)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            said.seek(0)
            broken = "" if reached or process.returncode in (0, -signal.SIGKILL) else said.read().decode(errors="replace")[-400:]
    today = datetime.now(UTC).date().isoformat()
    why = "" if reached else broken or "the whole training did not get there"
    return Run(model, change, seed, stated.goal, asked, round(cpu_s, 2), reached, curve, today, processor(), why)


def _watch(
    process: subprocess.Popen[bytes], trainings: Path, stated: Race, judge: Callable[..., Mapping[str, float]]
) -> tuple[float, bool, list[list[float]]]:
    """CPU seconds, whether the target was met, and the curve, of a training that writes the rows of its curves below `trainings`."""
    clock, read, names = psutil.Process(process.pid), 0, {name for name, _, _ in stated.bounds}
    curve: list[list[float]] = []
    while True:
        # Asked before the rows are read, so that the last ones are seen.
        is_over = clock.status() == psutil.STATUS_ZOMBIE
        for stats in trainings.glob("*/stats.jsonl"):
            lines = stats.read_text(encoding="utf-8").split("\n")[:-1]
            for row in map(json.loads, lines[read:]):
                # A training that waits adds nothing to its clock.
                clock.suspend()
                row |= judge(row, stats.parent)
                if names <= row.keys():
                    values = [float(f"{float(row[name]):.5g}") for name, _, _ in stated.bounds]
                    curve.append([round(_cpu_s(clock), 2), *values])
                    if stated.is_met(values):
                        return curve[-1][0], True, curve
                clock.resume()
            read = len(lines)
        if is_over or _cpu_s(clock) > MOST_CPU_S:
            return _cpu_s(clock), False, curve
        time.sleep(_LOOK_EVERY_S)


def _cpu_s(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:4])


def lay_out(kitchen: Kitchen, model: str, stated: Race, data: Path) -> numpy.ndarray | None:
    """Below `data` a model's inputs as links; of a set whose pictures are judged, the part to learn from. Returns the pictures held out of it."""
    held_out = None
    data.mkdir(parents=True)
    for name in kitchen.inputs(model):
        if name != stated.pictures:
            (data / name).symlink_to(kitchen.data / name)
            continue
        pictures = ImageShards(kitchen.data / name, resolution=kitchen.sections[model]["resolution"])
        members = [(serial, pictures.png(serial)[1]) for serial in range(len(pictures)) if serial % HELD_OUT_EVERY]
        (data / name).mkdir()
        write_shard(data / name / shard_name(0), members)
        held_out = pictures.images(range(0, len(pictures), HELD_OUT_EVERY))
    return held_out


def _judge(stated: Race, held_out: numpy.ndarray | None) -> Callable[..., Mapping[str, float]]:
    """What a row of the curves leads to: how far a snapshot's fakes, always of the same latents, are from held-out pictures; else nothing."""
    if held_out is None:
        return lambda row, folder: {}
    extractor, side = open_extractor("random"), held_out.shape[-1]

    def compared(row: Mapping[str, Any], folder: Path) -> Mapping[str, float]:
        if SPREAD not in row:
            return {}
        snapshots = [json.loads(path.read_text()) for path in folder.glob("fakes*.json")]
        sheet = load_picture(folder / next(one["file"] for one in snapshots if one["images"] == row["images"]))
        fakes = sheet.reshape(sheet.shape[0] // side, side, -1, side, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, side, side)
        return score_images(fakes, held_out, metrics=["swd" if "swd" in stated.goal else "fd"], extractor=extractor)

    return compared


def difference(of: Sequence[float], beside: Sequence[float]) -> Estimate:
    """Mean of `of` minus that of `beside`, with the 95 % interval of Welch 1947. A single value is taken to scatter like the others."""
    from scipy.stats import t

    sizes, gap = (len(of), len(beside)), statistics.mean(of) - statistics.mean(beside)
    if max(sizes) < 2:
        return Estimate(gap, sum(sizes))
    scatter = [statistics.variance(values if len(values) > 1 else others) for values, others in ((of, beside), (beside, of))]
    parts = [variance / size for variance, size in zip(scatter, sizes, strict=True)]
    freedom = float(max(sizes) - 1)
    if min(sizes) > 1 and any(parts):
        freedom = sum(parts) ** 2 / sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    half = float(t.ppf(0.975, freedom)) * math.sqrt(sum(parts))
    return Estimate(gap, sum(sizes), gap - half, gap + half)


def told(found: Estimate) -> str:
    """Such as `+12.1 (+8.0…+16.2)`."""
    return f"{found.value:+.1f} CPU-s" + (f" ({found.low:+.1f}…{found.high:+.1f})" if math.isfinite(found.low) else " (one run each)")


def beside_record(runs: Sequence[Run], record: Sequence[Run]) -> str:
    """What new runs of one model, nothing left out, are beside those on record: better, worse or not told apart."""
    model = runs[0].model
    before = [run for run in record if run.model == model and not run.change]
    if not before:
        return f"{model}: no record yet"
    if runs[0].goal != before[0].goal:
        return f"{model}: not compared, the record's goal is {before[0].goal} and this one's {runs[0].goal}"
    if not (of := [run.cpu_s for run in runs if run.reached]) or not (others := [run.cpu_s for run in before if run.reached]):
        return f"{model}: not compared, no run of one side reached the goal"
    found = difference(of, others)
    word = "better" if found.high < 0 else "worse" if found.low > 0 else "not told apart"
    elsewhere = "" if runs[0].processor == before[0].processor else f"; that was on another processor, {before[0].processor}"
    return f"{model}: {word}, {told(found)} beside {spread_of(others)}{elsewhere}"


def verdict(with_it: Sequence[Run], without: Sequence[Run]) -> str:
    """Whether a trick is worth keeping, by the CPU seconds with and without it. Fails count before seconds."""
    times = [[run.cpu_s for run in runs if run.reached] for runs in (without, with_it)]
    shares = [len(times[0]) / len(without), len(times[1]) / len(with_it)]
    if shares[0] != shares[1]:
        word = "keep" if shares[0] < shares[1] else "reject"
        return f"**{word}**: {len(times[0])} of {len(without)} runs get there without it, {len(times[1])} of {len(with_it)} with it"
    if not times[0]:
        return "**undecided**: no run gets there either way"
    found = difference(*times)
    word = "keep" if found.low > 0 else "reject" if found.high < 0 else "undecided"
    return f"**{word}**: {spread_of(times[0])} without, {spread_of(times[1])} with it; {told(found)}"


def spread_of(values: Sequence[float]) -> str:
    return cell(Spread(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else math.nan))


def page_of(races: Mapping[str, Race], runs: Sequence[Run]) -> str:
    """What stands between the marks of the page: the table, the tricks, and a line a run."""
    lines = ["| model | number on held-out data | goal | CPU-s to it | runs that got there | on a GPU |", "|---|---|---|--:|--:|---|"]
    tricks = ["| model | changed | the trick |", "|---|---|---|"]
    for model, stated in races.items():
        mine = [run for run in runs if run.model == model and run.goal == stated.goal]
        default = [run for run in mine if not run.change]
        times = [run.cpu_s for run in default if run.reached]
        record = (spread_of(times) if times else ABSENT) + (", no record yet" if len(times) < SEEDS_OF_A_RECORD else "")
        lines.append(f"| `{model}` | {stated.what} | `{stated.goal}` | {record} | {len(times)} of {len(default)} | not measured; {stated.gpu} |")
        for change in [*stated.changes][1:]:
            others = [run for run in mine if run.change == change]
            pair = (default, others) if change.startswith("without ") else (others, default)
            tricks.append(f"| `{model}` | {change} | {verdict(*pair) if all(pair) else 'not measured'} |")
    whys = [f"- `{model}`: {stated.why}" for model, stated in races.items()]
    log = [f"one thread of {', '.join(sorted({run.processor for run in runs}))}", *map(str, runs)]
    return "\n".join([*lines, "", "### Why these goals", "", *whys, "", "### Tricks", "", *tricks, "", "### Log", "", "```", *log, "```"])


def draw(races: Mapping[str, Race], runs: Sequence[Run], path: Path) -> None:
    """A panel a model: its number over CPU seconds, a line a seed, grey where a trick is left out, and the target."""

    def panel(model: str, stated: Race, axes: Any) -> None:
        for run in sorted((run for run in runs if run.model == model), key=lambda run: not run.change):
            axes.plot(*list(zip(*run.curve, strict=True))[:2], **({"color": "0.75", "lw": 0.8} if run.change else {"color": "C0", "lw": 1.2}))
        axes.axhline(stated.bounds[0][2], color="C3", lw=0.8, ls="--")
        axes.set_yscale("log")
        axes.set_xlabel("CPU seconds", fontsize=6)
        axes.tick_params(which="both", labelsize=6)

    shown = {model: stated for model, stated in races.items() if any(run.model == model and run.curve for run in runs)}
    draw_panels({f"{model}: {one.bounds[0][0]}": partial(panel, model, one) for model, one in shown.items()}, path, nothing="no run yet")


def read_runs(path: Path | None) -> list[Run]:
    return [Run(**stated) for stated in json.loads(path.read_text(encoding="utf-8"))] if path and path.is_file() else []


def write_runs(path: Path | None, runs: Sequence[Run]) -> None:
    """A line a run, so that a difference between two records can be read."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[\n" + ",\n".join(json.dumps(asdict(run)) for run in runs) + "\n]\n", encoding="utf-8")


def write_page(page: Path, races: Mapping[str, Race], runs: Sequence[Run], record: Path) -> None:
    """Make these runs the record of their models: in `record`, between the marks of `page`, and in its picture."""
    named = {run.model for run in runs}
    kept = [*(run for run in read_runs(record) if run.model not in named), *runs]
    kept.sort(key=lambda run: ([*races].index(run.model) if run.model in races else len(races), run.change, run.seed))
    write_runs(record, kept)
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{page_of(races, kept)}\n\n{END}{after}", encoding="utf-8")
    (page.parent / "images").mkdir(exist_ok=True)
    draw(races, kept, page.parent / "images/speedrun.png")


def wanted(races: Mapping[str, Race], models: Sequence[str], seeds: int, seeds_of_changes: int) -> list[tuple[str, str, int]]:
    """Model, change and seed of the runs to make, seed by seed, so that an interrupted table has something of everything."""
    plain = [(model, "", seed) for seed in range(seeds) for model in models]
    return plain + [(model, change, seed) for seed in range(seeds_of_changes) for model in models for change in [*races[model].changes][1:]]


def main(argv: Sequence[str] | None = None) -> int:
    flags = parser(__doc__)
    flags.add_argument("--model", nargs="+", metavar="NAME", help="(default: all of bench/speedrun.yaml)")
    flags.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings of each model (default: %(default)s)")
    flags.add_argument("--ablate", type=int, nargs="?", const=1, default=0, metavar="N", help="N trainings (1) without each of its tricks")
    flags.add_argument("--work", type=Path, metavar="DIR", help="where inputs are made, and used again (default: a scratch folder)")
    flags.add_argument("--runs", type=Path, nargs="+", default=[], metavar="FILE", help="runs that were written before, for --write")
    flags.add_argument("--write", type=Path, metavar="PAGE", help="make the runs the record: bench/speedrun.json, table and picture of the page")
    arguments = flags.parse_args(argv)
    races = read_races(is_smoke=arguments.scale == "smoke")
    if unknown := sorted(set(arguments.model or []) - set(races)):
        flags.error(f"--model: {', '.join(unknown)} is not among {', '.join(races)}")
    # Told to end, it ends its training too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    record, runs = read_runs(RECORD), [run for path in (*arguments.runs, arguments.json) for run in read_runs(path)]
    with tempfile.TemporaryDirectory(prefix="speedrun-") as scratch:
        kitchen = Kitchen((arguments.work or Path(scratch)).resolve())
        # Bytecode is made now, not on a clock.
        for room in ("formats", "stages", "training"):
            compileall.compile_dir(ROOT / room, quiet=1)
        for model, change, seed in [] if arguments.runs else wanted(races, arguments.model or [*races], arguments.seeds, arguments.ablate):
            stated = races[model]
            same = (model, change, seed, stated.goal, stated.changes[change])
            if same not in [(run.model, run.change, run.seed, run.goal, run.asked) for run in runs]:
                kitchen.make_inputs(model)
                runs.append(race(kitchen, model, stated, change=change, seed=seed))
                print(runs[-1], flush=True)
                write_runs(arguments.json, runs)
    for model in arguments.model or races:
        if mine := [run for run in runs if run.model == model and not run.change]:
            print(beside_record(mine, record))
    if arguments.write:
        write_page(arguments.write, races, runs, RECORD)
    return 0 if all(run.reached for run in runs if not run.change) else 1


if __name__ == "__main__":
    sys.exit(main())
