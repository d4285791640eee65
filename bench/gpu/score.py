"""Judge what a campaign brought home, in the whole environment: rows for docs/RESULTS.md, numbers, plots and pictures.

    python -m bench.gpu score gpu_results --write docs/RESULTS.md
    python -m bench.gpu score --write docs/RESULTS.md                  # without results: the same rows, not measured

Several folders, of runs with --only, are one: what is in a later one counts. Molecules are judged by training/metrics, as those of the graph are.
"""

import argparse
import json
import math
import statistics
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy

from bench.gpu.inputs import FOLDER, Inputs, InputsError
from bench.measuring import write_report
from stages.files import write_file_atomically

BEGIN, END = "<!-- written by `python -m bench.gpu score`: begin -->", "<!-- end -->"
NOT_MEASURED = "not measured"
_COMPARED = 10_000


class ScoreError(Exception):
    """A folder holds no results, or a file has no place for them."""


@dataclass(frozen=True)
class Found:
    """All rows of some campaigns, and what was made of their samples. rows: in order, each with the name of its `part`."""

    facts: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    molecules: Mapping[str, Mapping[str, Any]]

    def all(self, what: str, **wanted: Any) -> list[Mapping[str, Any]]:
        return [row for row in self.rows if row["what"] == what and all(row.get(name) == value for name, value in wanted.items())]

    def last(self, what: str, **wanted: Any) -> Mapping[str, Any]:
        """The newest row, or one without anything in it."""
        return (self.all(what, **wanted) or [{}])[-1]

    def layers(self) -> list[Mapping[str, Any]]:
        """Kinds of layer of which both paths were timed."""
        return [row for row in self.all("speed", part="kernel") if all("both_ms" in row.get(path, {}) for path in ("plain", "kernel"))]


def read(folders: Sequence[Path]) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Facts, rows, and molecules by the name of their file. Raises ScoreError."""
    facts: dict[str, Any] = {}
    parts: dict[str, list[dict[str, Any]]] = {}
    samples: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        try:
            report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
            facts = report["facts"]
            parts |= {name: [{"part": name, **row} for row in part["rows"]] for name, part in report["parts"].items() if part["rows"]}
            if (folder / "samples.zip").is_file():
                with zipfile.ZipFile(folder / "samples.zip") as archive:
                    names = [name for name in archive.namelist() if name.endswith(".jsonl")]
                    samples |= {Path(name).stem: [json.loads(line) for line in archive.read(name).splitlines() if line.strip()] for name in names}
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ScoreError(f"{folder}: no results of a campaign that can be read ({type(error).__name__}: {error}); expected its --out") from None
    return facts, [row for rows in parts.values() for row in rows], samples


def judge(samples: Mapping[str, Sequence[Mapping[str, Any]]], inputs: Inputs) -> dict[str, dict[str, Any]]:
    """Of each file of molecules: valid, unique, novel and FCD to the test split; of those on request, how near they are to what was asked for."""
    from training.metrics import fcd
    from training.metrics.distribution import prepare_reference
    from training.metrics.frechet import frechet_distance
    from training.metrics.molecules import novelty, read_generated, uniqueness, validity
    from training.polymers.scoring import ScoringConfig, control_of, obtained_values

    has_fcd = fcd.missing_reason() is None
    seen, held_out = (inputs.molecule_table(split, ()).smiles for split in ("train", "test")) if samples else ((), ())
    reference = prepare_reference(held_out[:_COMPARED], with_fcd=has_fcd) if samples else None
    scores: dict[str, dict[str, Any]] = {}
    for name, rows in samples.items():
        reading = read_generated([row["smiles"] for row in rows])
        rates = {"valid": validity(reading), "unique": uniqueness(reading), "novel": novelty(reading, seen)}
        known: dict[str, Any] = {key: {"value": rate.value, "of": rate.trials} for key, rate in rates.items()}
        compared = reading.valid[:_COMPARED]
        if has_fcd and reference is not None and reference.fcd_activations is not None and len(set(compared)) > 1:
            activations = fcd.chemnet_activations(compared)
            known |= {"fcd_torch": frechet_distance(activations, reference.fcd_activations), "fcd_reference": reference.size}
        for wish in next((row["asked"] for row in rows if "asked" in row), ()):
            wanted = numpy.array([row.get("asked", {}).get(wish, math.nan) for row in rows], dtype=numpy.float64)
            control = control_of(wish, wanted, obtained_values(reading, wish), ScoringConfig())
            known.setdefault("asked", {})[wish] = {"r2": control.r2.value, "mae": control.mae.value, "shuffled_r2": control.shuffled_r2}
        scores[name] = known
    return scores


# Rows of the table: what each says of what was found, "" where that is nothing


def _answers(found: Found) -> str:
    rows, worst = found.all("answers", fused=True), dict[str, float]()
    for row in rows:
        worst[row["dtype"]] = max(worst.get(row["dtype"], 0.0), *row.get("errors", {"": 0.0}).values())
    words = ", ".join(f"{name} {worst[name]:.1e}" for name in ("float32", "float16", "bfloat16") if worst.get(name))
    return f"{sum(row['ok'] for row in rows)} of {len(rows)} right; largest errors: {words}" if rows else ""


def _kernel_speed(found: Found) -> str:
    ratios = [row["plain"]["both_ms"] / row["kernel"]["both_ms"] for row in found.layers()]
    if not ratios:
        return ""
    rate, copied = statistics.median(row["kernel"]["bytes_per_s"] for row in found.layers()), found.last("reached").get("copy_bytes_per_s", math.nan)
    spread = f"{statistics.median(ratios):.2f} × (least {min(ratios):.2f}, greatest {max(ratios):.2f}) over {len(ratios)} kinds of layer"
    return f"{spread}; {rate / 1e12:.2f} TB/s by count of {copied / 1e12:.2f} TB/s copied"


def _speed(cfg: str, px: int, found: Found) -> str:
    return "; ".join(_variant(row) for row in found.all("speed", part="stylegan3_speed", cfg=cfg, px=px))


def _variant(row: Mapping[str, Any]) -> str:
    costs = [f"{row['images_per_s']:.0f} img/s", *(f"{row[key]:.4g} {unit}" for key, unit in (("memory_gib", "GiB"), ("watts", "W")) if row.get(key))]
    return f"{row['variant']} **{row['s_per_kimg']:.4g}** ({', '.join(costs)})"


def _run(found: Found) -> str:
    if not (rows := found.all("learnt", part="stylegan3_run")):
        return ""
    (first, *_), last, floor = rows, rows[-1], found.last("floor").get("value", math.nan)
    fell = f"{first['fd_rand0']:.4g} → {last['fd_rand0']:.4g} (−{100 * (1 - last['fd_rand0'] / first['fd_rand0']):.0f} %)"
    return f"{fell} in {last['seconds']:.0f} s, {last['kimg']:.3g} kimg; halves of the reals {floor:.3g}"


def _rates(name: str, found: Found) -> str:
    if not (known := found.molecules.get(name)):
        return ""
    words = [f"{key} {known[key]['value']:.4f}" for key in ("valid", "unique", "novel")]
    words += [f"FCD {known['fcd_torch']:.3f} (to {known['fcd_reference']:,})"] if "fcd_torch" in known else []
    if wishes := known.get("asked"):
        words.append(f"mean R² {statistics.mean(wish['r2'] for wish in wishes.values()):.3f} of {len(wishes)} properties")
    return f"{', '.join(words)}; of {known['valid']['of']:,}"


def _titles(found: Found) -> str:
    row, judged = found.last("learnt", part="titles"), found.last("judged", part="titles")
    if not row:
        return ""
    share = f" = {100 * row['model_flops_utilization']:.1f} % of the" if "model_flops_utilization" in row else "; unknown to the"
    words = f"{row['samples_per_s']:,.0f} tokens/s, {row['model_flops_per_second'] / 1e12:.4g} TFLOP/s{share} data sheet"
    bits = "; titles held out: {bits_per_character:.3f} bits a character, a 5-gram {bits_per_character_5gram:.3f}"
    return words + (bits.format(**judged) if judged else "")


def _said(words: str, rows: Iterable[Mapping[str, Any]]) -> str:
    return "; ".join(words.format(**row) for row in rows if row)


def _sampling(found: Found) -> str:
    return _said("{ratio:.2f} × at batch {batch}, {tokens} tokens", found.all("sampling"))


def _pggan(found: Found) -> str:
    words = "SWD × 10³ {swd_x1000:.4g}, halves {swd_x1000_between_halves:.4g}; {px:g} px, {kimg:.4g} kimg in {seconds:.0f} s"
    return _said(words, [found.last("learnt", part="pggan")])


def _cyclegan(found: Found) -> str:
    ways = {row["way"]: row for row in found.all("translated")}
    words = "{}: cycle L1 {:.3f}, SWD {:.3f} × of untranslated"
    return "; ".join(words.format(way, row["cycle_l1"], row["swd_x1000"]["after"] / row["swd_x1000"]["before"]) for way, row in ways.items())


def _vae(found: Found) -> str:
    exact = found.last("learnt", model="PolyVAE").get("validation", {}).get("validation_exact")
    return "; ".join(words for words in ("" if exact is None else f"exact reconstruction {exact:.3f}", _rates("polyvae_free", found)) if words)


def _ldm(found: Found) -> str:
    values = found.last("learnt", model="PolyLDM").get("validation", {})
    if not values.get("latent_distance_prior"):
        return ""
    ratio = values["latent_distance"] / values["latent_distance_prior"]
    return "; ".join(words for words in (f"{ratio:.3f} × of the prior", _rates("polyldm_free", found)) if words)


def _profile(found: Found) -> str:
    words = "{of}: {kernels} kernels in {steps} steps, {launches} launches, {graph_launches} graphs, {host_waits} waits, idle {idle:.0f} %"
    return _said(words, [{**row, "idle": 100 * row["gap_ms"] / max(row["window_ms"], 1e-9)} for row in found.all("profile")])


# What, the aim, what was measured.
LINES: tuple[tuple[str, str, Callable[[Found], str]], ...] = (
    ("filtered leaky ReLU: kernel against its definition in float64", "all right", _answers),
    ("the same: kernel beside the plain path, forward and backward", "> 1 ×", _kernel_speed),
    *(
        (f"StyleGAN3-{cfg.upper()} {px} px, batch 32, s/kimg", aim, partial(_speed, f"stylegan3-{cfg}", px))
        for cfg, px, aim in (
            ("t", 128, "an A100 with NVIDIA's own: 27.2; 13.6 on an H100"),
            ("t", 256, "an A100 with NVIDIA's own: 49.8"),
            ("r", 128, "none published"),
            ("r", 256, "none published"),
        )
    ),
    ("StyleGAN3-T 128 px learns: `fd_rand0` of 2,000 fakes", "−80 %", _run),
    ("PolyGPT, unasked, T = 1", "valid ≥ .99, unique ≥ .99, FCD ≤ .5", partial(_rates, "polygpt_free")),
    ("PolyGPT, three properties asked for, T = 0.8", "valid ≥ .98", partial(_rates, "polygpt_asked")),
    ("GPT-2 of 124 M parameters on titles and abstracts", "≥ 40 % of the bf16 peak; fewer bits than a 5-gram", _titles),
    ("PolyGPT's sampling beside the loop without a cache", "≥ 8 × at batch 16", _sampling),
    ("progressive GAN, pages, 64 px", "SWD ≤ 15 and ≤ 3 × halves", _pggan),
    ("CycleGAN, 128 px", "cycle L1 < .10, SWD ≤ .5 ×, both ways", _cyclegan),
    ("PolyTAO, greedy, 15 properties", "valid ≥ .97, mean R² ≥ .93", partial(_rates, "polytao_asked")),
    ("PolyVAE", "exact ≥ .6, valid ≥ .85", _vae),
    ("PolyLDM: distance of latents", "≤ .5 × of the prior", _ldm),
    ("profile", "no waits, idle < 5 %", _profile),
)


def markdown(found: Found | None) -> str:
    """The table, with who measured above it."""
    rows = [f"| {what} | {aim} | {(told(found) if found else '') or NOT_MEASURED} |" for what, aim, told in LINES]
    table = "\n".join(["| what | aim | measured |", "|---|---|---|", *rows])
    if found is None:
        return f"Not measured yet: no GPU was at hand. [gpu.md](gpu.md) says how to.\n\n{table}"
    facts = found.facts
    tried = " **A trial at the smallest size: these are no measurements.**" if facts.get("tiny") else ""
    released = ", ".join(f"{name} {facts[name]}" for name in ("driver", "torch", "cuda", "triton", "transformers", "python") if facts.get(name))
    return f"{facts.get('device')}, {facts.get('date')}; {released}.{tried} How: [gpu.md](gpu.md).\n\n{table}"


def write_between_markers(path: Path, table: str) -> None:
    """Raises ScoreError where the file has no such place."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text.count(BEGIN) != 1 or END not in text.partition(BEGIN)[2]:
        raise ScoreError(f"{path}: expected one line {BEGIN!r} and a line {END!r} behind it, found none; add them where the table belongs")
    before, _, rest = text.partition(BEGIN)
    write_file_atomically(path, f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}".encode())


def draw(found: Found, folders: Sequence[Path], target: Path) -> None:
    """Plots of what was measured, and the pictures that were drawn."""
    from training.reports.pictures import draw_panels

    panels: dict[str, Callable[[Any], None]] = {}
    if learnt := found.all("learnt", part="stylegan3_run"):
        seconds, distances = ([row[name] for row in learnt] for name in ("seconds", "fd_rand0"))
        panels["fd_rand0 by seconds of learning"] = lambda axes: axes.semilogy(seconds, distances, "o-")
    if speeds := {f"{row['cfg'][-1].upper()}{row['px']} {row['variant']}": row["s_per_kimg"] for row in found.all("speed", part="stylegan3_speed")}:
        panels["s/kimg"] = lambda axes: axes.barh(list(speeds), list(speeds.values()))
    if layers := found.layers():
        times = [[row[path]["both_ms"] for row in layers] for path in ("plain", "kernel")]
        panels["ms of a layer: plain (x), kernel (y)"] = lambda axes: axes.loglog(*times, ".")
    draw_panels(panels, target / "plots.png", nothing="Nothing was measured that can be drawn.")
    for archive in (folder / "pictures.zip" for folder in folders):
        if archive.is_file():
            with zipfile.ZipFile(archive) as pictures:
                for name in pictures.namelist():
                    (target / Path(name).name).write_bytes(pictures.read(name))


def main(argv: Sequence[str] | None = None) -> int:
    flags = argparse.ArgumentParser(prog="python -m bench.gpu score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("folders", nargs="*", type=Path, metavar="DIR", help="what `--out` named; none: nothing was measured")
    flags.add_argument("--inputs", type=Path, default=FOLDER, metavar="FOLDER", help="those of the campaign (default: %(default)s)")
    flags.add_argument("--write", type=Path, metavar="FILE", help="put the table between its markers there, such as docs/RESULTS.md")
    flags.add_argument("--out", type=Path, metavar="FOLDER", help="numbers, plots and pictures (default: DIR/scored of the last DIR)")
    arguments = flags.parse_args(argv)
    try:
        found = None
        if arguments.folders:
            facts, rows, samples = read(arguments.folders)
            inputs = Inputs(arguments.inputs)
            found = Found(facts, rows, judge(samples, inputs))
            target = arguments.out or arguments.folders[-1] / "scored"
            target.mkdir(parents=True, exist_ok=True)
            write_report(target / "scores.json", {"facts": facts, "molecules": found.molecules})
            draw(found, arguments.folders, target)
            (target / "results.md").write_text(markdown(found) + "\n", encoding="utf-8")
        if arguments.write:
            write_between_markers(arguments.write, markdown(found))
    except (ScoreError, InputsError) as error:
        print(f"bench.gpu score: {error}", file=sys.stderr)
        return 2
    print(markdown(found))
    return 0
