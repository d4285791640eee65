"""The stage `toc_dataset` beside the usual way: pad every picture to disk, then run a StyleGAN dataset tool once for each size.

    python -m bench.image_dataset                               # two minutes, 300 pictures
    python -m bench.image_dataset --scale std --json image_dataset.json
    python -m bench.image_dataset --peer-dataset-tool ~/stylegan3/dataset_tool.py --peer-img2dataset ~/venvs/i2d/bin/python

(a) `figment`: the commands for 256 and 128 px, one thread. `pad`: each picture decoded, padded to 512 px and saved as PNG by Pillow. `tool`: the
dataset tool on those, once for each size; the one given by path, or else a plain script that does what such a tool does (Pillow's LANCZOS, PNGs that
are not compressed, in a stored zip; bench/plain_dataset_tool.py). Pixels must be equal before anything is timed. CPU seconds of whole processes,
start included, sides in fresh order round by round; ratios are of a round. Each round also runs all sides on FEW pictures: what is more than that is
what pictures cost, and `cpu_of_tool_beyond_start` is the ratio of sets so large that starting costs nothing. Aims: `figment` at most 0.50 of `tool`
and 0.30 of `pad` and `tool` together, and 0.25 of their bytes.
(b) The same stage in this process, start not included: everything, then 1 % new pictures, then one removed. Aim: 1 % costs at most 3 % of everything.
(c) With --peer-img2dataset, the interpreter of an environment that has it: `download` of the same files by file:// addresses, for 256 and 128 px with
a white border as PNG in WebDataset, one process and thread. It makes other pixels (it enlarges to the border, and has another filter), so only counts
are compared. Aim: `figment` at most 0.5 of it.
Work is counted beside: pictures decoded, resized and encoded. Exits 1 when pixels or counts are not as they must be.
"""

import hashlib
import io
import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import isal
import numpy
import PIL
from PIL import Image, ImageDraw, ImageFilter, features

from assets.images.dataset import BuildFacts, build_dataset
from assets.papers.tables import TOC_IMAGES
from assets.papers.toc_dataset import TocDatasetConfig, toc_subject
from bench.measuring import ONE_THREAD, cpu_and_wall_s, parser, processor, spread, write_report
from formats.image_shards import ImageShards
from formats.stored_zip import StoredZipWriter
from formats.tables import table_from_rows, write_table
from stages.reporting import SilentReporter

SCALES = {"smoke": {"pictures": 300, "rounds": 2, "delta_pictures": 600}, "std": {"pictures": 2_000, "rounds": 5, "delta_pictures": 8_000}}
SIZES = [256, 128]
CANVAS_PX = 512
FEW = 3
AIMS = {
    "cpu_of_tool": 0.50,
    "cpu_of_tool_beyond_start": 0.50,
    "cpu_of_pad_and_tool": 0.30,
    "bytes_of_tool": 0.25,
    "one_percent_of_all": 0.03,
    "cpu_of_img2dataset": 0.5,
}
_PER_SHARD = 1_000


# Inputs: like table-of-contents pictures. White ground, drawings and words; a third with something photographic.


def make_picture(draw: random.Random) -> bytes:
    width, height = draw.choice([(500, draw.randint(150, 330)), (draw.randint(250, 500), draw.randint(180, 500)), (draw.randint(120, 240), 500)])
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    if draw.random() < 0.35:
        side = draw.randint(80, min(width, height, 260))
        noise = Image.effect_noise((side // 4, side // 4), draw.uniform(20, 90)).resize((side, side), Image.Resampling.BICUBIC)
        tint = Image.new("RGB", (side, side), tuple(draw.randint(60, 255) for _ in range(3)))
        photograph = Image.blend(noise.convert("RGB"), tint, 0.5).filter(ImageFilter.GaussianBlur(draw.uniform(0, 2)))
        image.paste(photograph, (draw.randint(0, width - side), draw.randint(0, height - side)))
    for _ in range(draw.randint(4, 14)):
        x, y, radius = draw.randint(0, width), draw.randint(0, height), draw.randint(12, 40)
        pen.regular_polygon((x, y, radius), draw.choice([5, 6]), rotation=draw.randint(0, 59), outline="black", width=2)
        pen.line([(x + radius, y), (x + 2 * radius, y + draw.randint(-20, 20))], fill="black", width=2)
        pen.text((draw.randint(0, width), draw.randint(0, height)), draw.choice(["OH", "NMe2", "99% ee", "cat. Pd", "hv", "O2"]), fill=_colour(draw))
    pen.ellipse([draw.randint(0, width // 2), draw.randint(0, height // 2), width * 3 // 4, height * 3 // 4], outline=_colour(draw), width=3)
    stream = io.BytesIO()
    kind = draw.choice(["PNG", "PNG", "GIF", "JPEG"])
    (image.quantize(128) if kind == "GIF" else image).save(stream, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return stream.getvalue()


def _colour(draw: random.Random) -> tuple[int, ...]:
    return draw.choice([(0, 0, 0), (200, 0, 0), (0, 0, 190), (0, 120, 0)])


def write_toc_images(folder: Path, pictures: Sequence[bytes], *, leave_out: int | None = None) -> None:
    """What the stage reads."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for first in range(0, len(pictures), _PER_SHARD):
        shard = f"images-{first // _PER_SHARD:05d}.zip"
        (folder / shard).unlink(missing_ok=True)
        with StoredZipWriter(folder / shard) as archive:
            for serial, content in enumerate(pictures[first : first + _PER_SHARD], first):
                if serial == leave_out:
                    continue
                sha256 = hashlib.sha256(content).hexdigest()
                archive.add(f"{sha256}.img", content)
                facts = {"licence": "CC-BY-4.0", "source": "bench", "paper_ids": [f"p{serial}"], "journal": "Bench"}
                rows.append({"sha256": sha256, "serial": serial, "shard": shard, "member": f"{sha256}.img", **facts})
    (folder / "index.parquet").unlink(missing_ok=True)
    write_table(folder / "index.parquet", table_from_rows(TOC_IMAGES, rows))


def write_originals(folder: Path, pictures: Sequence[bytes]) -> None:
    folder.mkdir(parents=True)
    for serial, content in enumerate(pictures):
        (folder / f"{serial:08d}.img").write_bytes(content)


def tool_command(tool: Path | None, source: Path, target: Path, size: int) -> list[str]:
    if tool is None:
        return [sys.executable, "-m", "bench.plain_dataset_tool", "zip", str(source), str(target), str(size)]
    return [sys.executable, str(tool), f"--source={source}", f"--dest={target}", f"--resolution={size}x{size}"]


def pad_command(source: Path, target: Path) -> list[str]:
    return [sys.executable, "-m", "bench.plain_dataset_tool", "pad", str(source), str(target), str(CANVAS_PX)]


def figment_command(folder: Path, size: int) -> list[str]:
    paths = ["--params", str(folder / "params.yaml"), "--data", str(folder / "data"), "--workers", "1"]
    return [sys.executable, "-m", "assets.papers.toc_dataset", str(size), *paths]


IMG2DATASET = """\
import sys
from img2dataset import download

download(url_list=sys.argv[1], output_folder=sys.argv[2], image_size=int(sys.argv[3]), resize_mode="border", output_format="webdataset",
         input_format="txt", encode_format="png", encode_quality=1, processes_count=1, thread_count=1, enable_wandb=False)
"""


def cpu_of(commands: Sequence[Sequence[str]], folder: Path) -> float:
    """CPU seconds of these programs, one after the other."""
    return sum(cpu_and_wall_s(command, cwd=folder, variables=ONE_THREAD)[0] for command in commands)


class Sides:
    """The programs of all sides on one set of pictures; each call starts from nothing."""

    def __init__(self, folder: Path, pictures: Sequence[bytes], tool: Path | None, img2dataset: Path | None) -> None:
        self._folder, self._tool, self._img2dataset = folder, tool, img2dataset
        self._runs = 0
        write_originals(folder / "originals", pictures)
        write_toc_images(folder / "data/toc_images", pictures)
        (folder / "params.yaml").write_text(f"toc_dataset: {{sizes: {SIZES}, canvas_px: {CANVAS_PX}, images_per_shard: {_PER_SHARD}}}\n")
        (folder / "addresses.txt").write_text("".join(f"file://{path}\n" for path in sorted((folder / "originals").iterdir())))
        self.calls: dict[str, Callable[[], float]] = {"figment": self.figment, "pad": self.pad, "tool": self.tool}
        if img2dataset:
            self.calls["img2dataset"] = self.img2dataset

    def figment(self) -> float:
        for name in [f"data/toc_dataset@{size}" for size in SIZES] + [".figment"]:
            subprocess.run(["rm", "-rf", str(self._folder / name)], check=True)
        return cpu_of([figment_command(self._folder, size) for size in SIZES], self._folder)

    def pad(self) -> float:
        subprocess.run(["rm", "-rf", str(self._folder / "padded")], check=True)
        return cpu_of([pad_command(self._folder / "originals", self._folder / "padded")], self._folder)

    def tool(self) -> float:
        source = self._folder / "padded"
        for size in SIZES:
            (self._folder / f"tool-{size}.zip").unlink(missing_ok=True)
        return cpu_of([tool_command(self._tool, source, self._folder / f"tool-{size}.zip", size) for size in SIZES], self._folder)

    def img2dataset(self) -> float:
        self._runs += 1
        target = self._folder / f"img2dataset-{self._runs}"
        script = [str(self._img2dataset), "-c", IMG2DATASET, str(self._folder / "addresses.txt")]
        seconds = cpu_of([[*script, f"{target}-{size}", str(size)] for size in SIZES], self._folder)
        for size in SIZES:
            stats = [json.loads(path.read_text()) for path in Path(f"{target}-{size}").glob("*_stats.json")]
            made = sum(row["successes"] for row in stats)
            if made != len(list((self._folder / "originals").iterdir())):
                sys.exit(f"DISAGREE: img2dataset made {made:,} pictures at {size} px")
        return seconds

    def check(self) -> dict[str, Any]:
        """Every side once; exits when pixels differ. Gives bytes and the time to load a picture."""
        # Pixels first: a faster program that makes other pictures is no answer to the question.
        self.figment()
        self.pad()
        self.tool()
        found: dict[str, Any] = {"tool_bytes": 0, "figment_bytes": 0}
        for size in SIZES:
            ours, theirs = ImageShards(self._folder / f"data/toc_dataset@{size}"), ImageShards(self._folder / f"tool-{size}.zip")
            differ = [index for index in range(len(theirs)) if index >= len(ours) or not numpy.array_equal(ours.image(index), theirs.image(index))]
            if differ or len(ours) != len(theirs):
                sys.exit(
                    f"DISAGREE: at {size} px {len(differ):,} of {len(theirs):,} pictures differ (first: {differ[:3]}); figment has {len(ours):,}"
                )
            found["figment_bytes"] += sum(path.stat().st_size for path in (self._folder / f"data/toc_dataset@{size}").glob("shard-*.zip"))
            found["tool_bytes"] += (self._folder / f"tool-{size}.zip").stat().st_size
            found[f"load_ms_{size}_figment"], found[f"load_ms_{size}_tool"] = _load_ms(ours), _load_ms(theirs)
        return found


def _load_ms(images: ImageShards) -> float:
    count = min(len(images), 300)
    started = time.process_time()
    images.images(range(count))
    return round(1e3 * (time.process_time() - started) / count, 3)


def measure_delta(pictures: Sequence[bytes], folder: Path) -> dict[str, Any]:
    """CPU seconds and work of a full build of both sizes, of one with 1 % more pictures, and of one with a picture less; exits when work is wrong."""
    config = TocDatasetConfig(sizes=list(SIZES), canvas_px=CANVAS_PX, images_per_shard=_PER_SHARD)
    # The same pictures in two editions, 1 % of them new: what each step may cost is counted in decodes, and timed beside.
    hundredth = max(1, len(pictures) // 101)
    old = pictures[: len(pictures) - hundredth]
    steps: dict[str, Callable[[], None]] = {
        "all": lambda: write_toc_images(folder / "data/toc_images", old),
        "one_percent_new": lambda: write_toc_images(folder / "data/toc_images", pictures),
        "one_removed": lambda: write_toc_images(folder / "data/toc_images", pictures, leave_out=len(pictures) // 2),
        "nothing": lambda: None,
    }
    expected = {"all": len(old), "one_percent_new": hundredth, "one_removed": 0, "nothing": 0}
    found: dict[str, Any] = {"new": hundredth}
    for name, prepare in steps.items():
        prepare()
        started = time.process_time()
        facts = [_build(size, config, folder) for size in SIZES]
        seconds = time.process_time() - started
        work = {key: sum(asdict(fact.work)[key] for fact in facts) for key in asdict(facts[0].work)}
        rewritten = [fact.shards - fact.shards_kept for fact in facts]
        if work["decodes"] != expected[name] or work["encodes"] != len(SIZES) * expected[name] or (name != "all" and max(rewritten) > 2):
            sys.exit(f"WRONG WORK for {name}: {work}, {rewritten} shards rewritten; expected {expected[name]:,} decodes")
        found[name] = {"cpu_s": round(seconds, 3), "work": work, "shards_rewritten": rewritten}
    for name in ("one_percent_new", "one_removed", "nothing"):
        found[name]["of_all"] = round(found[name]["cpu_s"] / found["all"]["cpu_s"], 4)
    return found


def _build(size: int, config: TocDatasetConfig, folder: Path) -> BuildFacts:
    target = folder / f"data/toc_dataset@{size}"
    originals, figment = folder / "data/toc_images", folder / ".figment"
    return build_dataset(size, config, toc_subject(config), originals, target, figment=figment, workers=1, reporter=SilentReporter())


Rounds = Sequence[dict[str, float]]


def report(checked: dict[str, Any], rounds: Rounds, starts: Rounds, delta: dict[str, Any], pictures: int, peer: str) -> dict[str, Any]:
    beyond = [{side: (row[side] - start[side]) / (pictures - FEW) for side in row} for row, start in zip(rounds, starts, strict=True)]
    ratios: dict[str, list[float]] = {
        "cpu_of_tool": [row["figment"] / row["tool"] for row in rounds],
        "cpu_of_tool_beyond_start": [row["figment"] / row["tool"] for row in beyond],
        "cpu_of_pad_and_tool": [row["figment"] / (row["pad"] + row["tool"]) for row in rounds],
        "bytes_of_tool": [checked["figment_bytes"] / checked["tool_bytes"]],
        "one_percent_of_all": [delta["one_percent_new"]["of_all"]],
    }
    if "img2dataset" in rounds[0]:
        ratios["cpu_of_img2dataset"] = [row["figment"] / row["img2dataset"] for row in rounds]
    return {
        "pictures": pictures,
        "rounds": len(rounds),
        "tool": peer,
        "cpu_ms_per_picture": {side: round(1e3 * statistics.median(row[side] for row in beyond), 3) for side in rounds[0]},
        "cpu_ms_to_start": {side: round(1e3 * statistics.median(row[side] for row in starts)) for side in rounds[0]},
        "ratios": {name: {**spread(values, 4), "aim": AIMS[name]} for name, values in ratios.items()},
        "checked": checked,
        "delta": delta,
        "machine": {"processor": processor(), "python": platform.python_version(), **libraries()},
    }


def libraries() -> dict[str, str | None]:
    """What decides the speed of pixels. Pillow's wheels for Linux are built with zlib-ng and run the zlib of the system: zlib is what runs."""
    pillow = {f"pillow {name}": features.version(name) for name in ("zlib", "zlib_ng", "libjpeg_turbo")}
    return {"isal": isal.__version__, "ISA-L": isal.ISAL_VERSION, "pillow": PIL.__version__, **pillow}


def show(result: dict[str, Any]) -> None:
    print(f"{result['pictures']:,} pictures at {SIZES} px; {result['rounds']} rounds; tool: {result['tool']}; same pixels")
    print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
    for side, milliseconds in result["cpu_ms_per_picture"].items():
        print(f"{side:14}{milliseconds:>10} ms CPU a picture, both sizes, and {result['cpu_ms_to_start'][side]:,} ms to start")
    print(f"{'ratio':26}{'median':>10}{'lowest':>10}{'highest':>10}{'aim':>8}")
    for name, row in result["ratios"].items():
        verdict = "met" if row["median"] <= row["aim"] else "MISSED"
        print(f"{name:26}{row['median']:>10}{row['lowest']:>10}{row['highest']:>10}{row['aim']:>8}  {verdict}")
    for name in ("all", "one_percent_new", "one_removed", "nothing"):
        row = result["delta"][name]
        print(f"{name:18}{row['cpu_s']:>9} s CPU  decodes {row['work']['decodes']:,}, shards rewritten {row['shards_rewritten']}")
    print(", ".join(f"{key} {value:,}" for key, value in result["checked"].items()))


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--pictures", type=int, default=None, help="how many (default: as the scale says)")
    flags.add_argument("--repeat", type=int, default=None, help="rounds (default: as the scale says)")
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--peer-dataset-tool", type=Path, default=None, metavar="PATH", help="a dataset_tool.py; without it, a plain script")
    flags.add_argument("--peer-img2dataset", type=Path, default=None, metavar="PYTHON", help="an interpreter that can import img2dataset")
    arguments = flags.parse_args()
    scale = SCALES[arguments.scale]
    draw = random.Random(arguments.seed)
    pictures = [make_picture(draw) for _ in range(arguments.pictures or scale["pictures"])]
    more = [make_picture(draw) for _ in range(0 if arguments.pictures else scale["delta_pictures"] - len(pictures))]
    if len(pictures) <= FEW:
        flags.error(f"--pictures must be more than {FEW}")
    with tempfile.TemporaryDirectory() as folder:
        peers = arguments.peer_dataset_tool, arguments.peer_img2dataset
        sides, few = Sides(Path(folder) / "all", pictures, *peers), Sides(Path(folder) / "few", pictures[:FEW], *peers)
        checked = sides.check()
        few.check()
        rounds, starts = [], []
        # A fresh order each round: whoever goes first finds the disk cache cold.
        for _ in range(arguments.repeat or scale["rounds"]):
            order = list(sides.calls)
            draw.shuffle(order)
            rounds.append({side: sides.calls[side]() for side in order})
            starts.append({side: few.calls[side]() for side in order})
    with tempfile.TemporaryDirectory() as folder:
        delta = measure_delta([*pictures, *more], Path(folder))
    result = report(checked, rounds, starts, delta, len(pictures), str(arguments.peer_dataset_tool or "a plain script"))
    show(result)
    write_report(arguments.json, result)


if __name__ == "__main__":
    main()
