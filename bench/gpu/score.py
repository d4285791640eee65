"""Judge what a campaign brought home, in the whole environment: rows for docs/RESULTS.md, numbers, plots and pictures.

    python -m bench.gpu score gpu_results --write docs/RESULTS.md
    python -m bench.gpu score --write docs/RESULTS.md                  # without results: the same rows, not measured

Several folders, of runs with --only, are one: what is in a later one counts. Molecules are judged by training/metrics, as those of the graph are.
"""

import argparse
import json
import statistics
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
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
_NVIDIA_S_PER_KIMG = {("stylegan3-t", 128): 27.2, ("stylegan3-t", 256): 49.8}


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
    from formats.descriptors import DESCRIPTORS
    from training.metrics import fcd
    from training.metrics.distribution import prepare_reference
    from training.metrics.frechet import frechet_distance
    from training.metrics.molecules import novelty, read_generated, uniqueness, validity
    from training.metrics.regression import property_control

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
        asked = [row for row in rows if "asked" in row]
        for wish in asked[0]["asked"] if asked else ():
            wanted = numpy.array([row["asked"].get(wish, numpy.nan) for row in rows], dtype=numpy.float64)
            made = [numpy.nan if text is None else DESCRIPTORS[wish].measure(reading.molecules[text]) for text in reading.canonical]
            is_asked = numpy.isfinite(wanted)
            control = property_control(wish, wanted[is_asked], numpy.array(made)[is_asked], rounds=100, seed=0)
            known.setdefault("asked", {})[wish] = {"r2": control.r2.value, "mae": control.mae.value, "shuffled_r2": control.shuffled_r2}
        scores[name] = known
    return scores


# Rows of the table


@dataclass(frozen=True)
class Line:
    what: str
    aim: str
    told: Callable[[Found], str | None]


def _answers(found: Found) -> str | None:
    rows = found.all("answers", fused=True)
    if not rows:
        return None
    worst = {name: max((max(row["errors"].values()) for row in rows if row["dtype"] == name and "errors" in row), default=None) for name in _DTYPES}
    words = ", ".join(f"{name} {value:.1e}" for name, value in worst.items() if value is not None)
    return f"{sum(row['ok'] for row in rows)} of {len(rows)} right; largest errors: {words}"


_DTYPES = ("float32", "float16", "bfloat16")


def _kernel_speed(found: Found) -> str | None:
    rows = [row for row in found.all("speed", part="kernel") if "both_ms" in row.get("kernel", {}) and "both_ms" in row.get("plain", {})]
    if not rows:
        return None
    ratios = [row["plain"]["both_ms"] / row["kernel"]["both_ms"] for row in rows]
    rates = [row["kernel"]["bytes_per_s"] / 1e12 for row in rows]
    spread = f"{statistics.median(ratios):.2f} × (least {min(ratios):.2f}, greatest {max(ratios):.2f})"
    return f"{spread} over {len(rows)} kinds of layer; {statistics.median(rates):.2f} TB/s by count of {_tb(found)} copied"


def _tb(found: Found) -> str:
    copied = found.last("reached").get("copy_bytes_per_s")
    return f"{copied / 1e12:.2f} TB/s" if copied else "what is"


def _speed(found: Found, cfg: str, px: int) -> str | None:
    rows = found.all("speed", part="stylegan3_speed", cfg=cfg, px=px)
    return "; ".join(_variant(row) for row in rows) or None


def _variant(row: Mapping[str, Any]) -> str:
    costs = [f"{row['images_per_s']:.0f} img/s", *(f"{row[key]:.4g} {unit}" for key, unit in (("memory_gib", "GiB"), ("watts", "W")) if row.get(key))]
    return f"{row['variant']} **{row['s_per_kimg']:.4g}** ({', '.join(costs)})"


def _run(found: Found) -> str | None:
    rows = found.all("learnt", part="stylegan3_run")
    if not rows:
        return None
    first, last = rows[0], rows[-1]
    fell = 100 * (1 - last["fd_rand0"] / first["fd_rand0"])
    floor = found.last("floor").get("value", float("nan"))
    words = f"{first['fd_rand0']:.4g} → {last['fd_rand0']:.4g} (−{fell:.0f} %) in {last['seconds']:.0f} s, {last['kimg']:.3g} kimg"
    return f"{words}; halves of the reals {floor:.3g}"


def _rates(found: Found, name: str) -> str | None:
    known = found.molecules.get(name)
    if known is None:
        return None
    words = [f"{key} {known[key]['value']:.4f}" for key in ("valid", "unique", "novel")]
    words += [f"FCD {known['fcd_torch']:.3f} (to {known['fcd_reference']:,})"] if "fcd_torch" in known else []
    if wishes := known.get("asked"):
        words.append(f"mean R² {statistics.mean(wish['r2'] for wish in wishes.values()):.3f} of {len(wishes)} properties")
    return f"{', '.join(words)}; of {known['valid']['of']:,}"


def _titles(found: Found) -> str | None:
    row, bits = found.last("learnt", part="titles"), found.last("judged", part="titles")
    if not row:
        return None
    share = row.get("share_of_bf16_peak")
    words = f"{row['samples_per_s']:,.0f} tokens/s, {row['model_flops_per_s'] / 1e12:.4g} TFLOP/s"
    words += f" = {100 * share:.1f} % of the data sheet's peak" if share else " (peak of this device not known)"
    return words + (f"; {bits['bits_per_token']:.3f} bits a token" if bits else "")


def _sampling(found: Found) -> str | None:
    rows = {(row["batch"], row["tokens"]): row for row in found.all("sampling")}
    return "; ".join(f"{row['ratio']:.2f} × at batch {batch}, {tokens} tokens" for (batch, tokens), row in rows.items()) or None


def _pggan(found: Found) -> str | None:
    row = found.last("learnt", part="pggan")
    words = "SWD × 10³ {swd_x1000:.4g}, halves {swd_x1000_between_halves:.4g}; {px:g} px, {kimg:.4g} kimg in {seconds:.0f} s"
    return words.format(**row) if row else None


def _cyclegan(found: Found) -> str | None:
    ways = {row["way"]: row for row in found.all("translated")}
    words = []
    for way, row in ways.items():
        swd = row["swd_x1000"]
        words.append(f"{way}: cycle L1 {row['cycle_l1']:.3f}" + (f", SWD {swd['after'] / swd['before']:.3f} × of untranslated" if swd else ""))
    return "; ".join(words) or None


def _vae(found: Found) -> str | None:
    validation, rates = found.last("learnt", model="PolyVAE").get("validation"), _rates(found, "polyvae_free")
    exact = f"exact reconstruction {validation['validation_exact']:.3f}" if validation else None
    return "; ".join(words for words in (exact, rates) if words) or None


def _ldm(found: Found) -> str | None:
    values = found.last("learnt", model="PolyLDM").get("validation", {})
    if not values.get("latent_distance_prior"):
        return None
    ratio = values["latent_distance"] / values["latent_distance_prior"]
    return "; ".join(words for words in (f"{ratio:.3f} × of the prior", _rates(found, "polyldm_free")) if words)


def _profile(found: Found) -> str | None:
    rows = {row["of"]: row for row in found.all("profile")}
    words = "{of}: {kernels} kernels in {steps} steps, {launches} launches, {graph_launches} graphs, {host_waits} waits, idle {idle:.0f} %"
    return "; ".join(words.format(**row, idle=100 * row["gap_ms"] / max(row["window_ms"], 1e-9)) for row in rows.values()) or None


def lines() -> Iterator[Line]:
    yield Line("filtered leaky ReLU: kernel against its definition in float64", "all right", _answers)
    yield Line("the same: kernel beside the plain path, forward and backward", "> 1 ×", _kernel_speed)
    for cfg, px in (("stylegan3-t", 128), ("stylegan3-t", 256), ("stylegan3-r", 128), ("stylegan3-r", 256)):
        published = _NVIDIA_S_PER_KIMG.get((cfg, px))
        aim = f"an A100 with NVIDIA's own: {published}" if published else "none published"
        aim += "; 13.6 on an H100" if (cfg, px) == ("stylegan3-t", 128) else ""
        yield Line(f"StyleGAN3-{cfg[-1].upper()} {px} px, batch 32, s/kimg", aim, partial(_speed, cfg=cfg, px=px))
    yield Line("StyleGAN3-T 128 px learns: `fd_rand0` of 2,000 fakes", "−80 %", _run)
    yield Line("PolyGPT, unasked, T = 1", "valid ≥ .99, unique ≥ .99, FCD ≤ .5", partial(_rates, name="polygpt_free"))
    yield Line("PolyGPT, three properties asked for, T = 0.8", "valid ≥ .98", partial(_rates, name="polygpt_asked"))
    yield Line("GPT-2 of 124 M parameters", "≥ 40 % of the bf16 peak", _titles)
    yield Line("PolyGPT's sampling beside the loop without a cache", "≥ 8 × at batch 16", _sampling)
    yield Line("progressive GAN, pages, 64 px", "SWD ≤ 15 and ≤ 3 × halves", _pggan)
    yield Line("CycleGAN, 128 px", "cycle L1 < .10, SWD ≤ .5 ×, both ways", _cyclegan)
    yield Line("PolyTAO, greedy, 15 properties", "valid ≥ .97, mean R² ≥ .93", partial(_rates, name="polytao_asked"))
    yield Line("PolyVAE", "exact ≥ .6, valid ≥ .85", _vae)
    yield Line("PolyLDM: distance of latents", "≤ .5 × of the prior", _ldm)
    yield Line("profile", "no waits, idle < 5 %", _profile)


def markdown(found: Found | None) -> str:
    """The table, with who measured above it."""
    head = "| what | aim | measured |\n|---|---|---|\n"
    body = "\n".join(f"| {line.what} | {line.aim} | {(line.told(found) if found else None) or NOT_MEASURED} |" for line in lines())
    if found is None:
        return f"Not measured yet: no GPU was at hand. [gpu.md](gpu.md) says how to.\n\n{head}{body}"
    facts = found.facts
    tried = " **A trial at the smallest size: these are no measurements.**" if facts.get("tiny") else ""
    released = ", ".join(f"{name} {facts[name]}" for name in ("driver", "torch", "cuda", "triton", "transformers", "python") if facts.get(name))
    return f"{facts.get('device')}, {facts.get('date')}; {released}.{tried} How: [gpu.md](gpu.md).\n\n{head}{body}"


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
    learnt = found.all("learnt", part="stylegan3_run")
    if learnt:
        seconds, distances = [row["seconds"] for row in learnt], [row["fd_rand0"] for row in learnt]
        panels["fd_rand0 by seconds of learning"] = lambda axes: axes.semilogy(seconds, distances, "o-")
    speeds = found.all("speed", part="stylegan3_speed")
    if speeds:
        names = [f"{row['cfg'][-1].upper()}{row['px']} {row['variant']}" for row in speeds]
        panels["s/kimg"] = lambda axes: axes.barh(names, [row["s_per_kimg"] for row in speeds])
    layers = [row for row in found.all("speed", part="kernel") if "both_ms" in row.get("kernel", {})]
    if layers:
        times = [[row[way]["both_ms"] for row in layers if "both_ms" in row.get("plain", {})] for way in ("plain", "kernel")]
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
