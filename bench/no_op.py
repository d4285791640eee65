"""What does it cost to learn that there is nothing to do? `figment` against `dvc status` and against one trivial `dagster asset materialize`.

    python -m bench.no_op                  # 2,000 files, 10 stages: half a minute
    python -m bench.no_op --scale std      # 60,000 files, 50 stages: several minutes, most of them making the project

(a) `figment status` and `dvc status` on the same fresh project. (b) `figment materialize --stale` with nothing to do and `dagster asset materialize`
of one asset that returns None. Before anything is timed both must give the same answer: everything fresh, and after an edit the same stages stale.
Times are CPU seconds of whole processes with their children (rusage), in interleaved pairs; reported is the median of the pairs' ratios with the
least and the greatest. The work counters must be zero: no file hashed, no step run. Exits 1 when they are not, or when the answers differ.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.measuring import cpu_and_wall_s, parser, spread, write_report

BIN = Path(sys.executable).parent
VARIABLES = {"DVC_NO_ANALYTICS": "1", "DAGSTER_DISABLE_TELEMETRY": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
SCALES = {"smoke": (10, 200, 3), "std": (50, 1200, 7)}
FILE_BYTES = 2000
AIMS = {"status": 0.25, "materialize": 1.3}

TRIVIAL_ASSET = """\
import dagster as dg


@dg.asset
def trivial() -> None: ...


defs = dg.Definitions([trivial])
"""


def make_project(root: Path, *, stages: int, files: int) -> None:
    """`stages` in a row, each with an output of `files` small files, recorded by DVC and known to Dagster; nothing is left to do."""
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    call(root, "dvc", "init", "-q")
    (root / ".dvc/config").write_text('[core]\n    analytics = false\n[cache]\n    type = "reflink,hardlink,copy"\n', encoding="utf-8")
    # Stages in a row, so that judging the last one means judging them all.
    lines, params = ["stages:"], []
    for number in range(stages):
        folder = root / "data" / f"stage_{number:02d}"
        folder.mkdir(parents=True)
        for file in range(files):
            text = f"{number} {file} "
            (folder / f"{file:05d}.txt").write_text((text * (FILE_BYTES // len(text) + 1))[:FILE_BYTES], encoding="ascii")
        before = f", deps: [data/stage_{number - 1:02d}]" if number else ""
        lines.append(f"  stage_{number:02d}: {{cmd: 'true', params: [stage_{number:02d}]{before}, outs: [data/stage_{number:02d}]}}")
        params.append(f"stage_{number:02d}: {{value: 1}}")
    (root / "dvc.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / "params.yaml").write_text("\n".join(params) + "\n", encoding="utf-8")
    call(root, "dvc", "commit", "-q", "-f")
    # A first look lets each tool fill its memory, as on any day but the first.
    call(root, "figment", "status")
    tell_dagster(root)


def tell_dagster(root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from orchestration.checkout import open_project; "
        "from orchestration.runs.dagster_run import tell_outside_changes; print(len(tell_outside_changes(open_project(Path(sys.argv[1])))))"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(root)], check=True, capture_output=True)


def command(tool: str, *words: str) -> list[str]:
    """The tool of this environment, as a user starts it."""
    return [str(BIN / tool), *words]


def call(root: Path, tool: str, *words: str) -> str:
    done = subprocess.run(command(tool, *words), cwd=root, capture_output=True, text=True, check=False, env={**os.environ, **VARIABLES})
    if done.returncode not in (0, 1):
        raise SystemExit(f"{tool} {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def check_equal(root: Path) -> dict[str, int]:
    """Both tools: everything fresh; after an edit of two parameters the same two stages stale. Returns the work counters, measured when fresh."""
    assert stale_by_figment(root) == stale_by_dvc(root) == set()
    steps_before = runs_of_dagster(root)
    said = call(root, "figment", "materialize", "--stale")
    assert said.startswith("nothing to do"), said
    counters = {
        "files_hashed": json.loads(call(root, "figment", "status", "--json"))["work"]["files_hashed"],
        "steps": runs_of_dagster(root) - steps_before,
    }
    # Both must also see an edit: a tool that always says "fresh" would win every timing.
    params = (root / "params.yaml").read_text(encoding="utf-8")
    edited = params.replace("stage_02: {value: 1}", "stage_02: {value: 2}").replace("stage_07: {value: 1}", "stage_07: {value: 2}")
    (root / "params.yaml").write_text(edited, encoding="utf-8")
    ours, theirs = stale_by_figment(root), stale_by_dvc(root)
    (root / "params.yaml").write_text(params, encoding="utf-8")
    assert ours == theirs == {"stage_02", "stage_07"}, (ours, theirs)
    return counters


def stale_by_figment(root: Path) -> set[str]:
    return {one["name"] for one in json.loads(call(root, "figment", "status", "--json"))["artifacts"] if one["state"] != "fresh"}


def stale_by_dvc(root: Path) -> set[str]:
    return set(json.loads(call(root, "dvc", "status", "--json")))


def runs_of_dagster(root: Path) -> int:
    import sqlite3

    path = root / ".figment/dagster/history/runs.db"
    if not path.is_file():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return connection.execute("SELECT count(*) FROM runs").fetchone()[0]


def measure(pairs: dict[str, tuple[Sequence[str], Sequence[str]]], *, root: Path, home: Path, rounds: int) -> list[dict]:
    """One row per case: medians of both sides and of the pairs' ratios. The first round warms up and is dropped."""
    samples: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in pairs}
    for number in range(rounds + 1):
        for name, (ours, peer) in pairs.items():
            # Pairs, one right after the other: their ratio is what a slower minute does not change.
            first = cpu_and_wall_s(ours, cwd=root, variables=VARIABLES)
            second = cpu_and_wall_s(peer, cwd=root, variables={**VARIABLES, "DAGSTER_HOME": str(home)})
            if number:
                samples[name].append((*first, *second))
    rows = []
    for name, taken in samples.items():
        rows.append(
            {
                "case": name,
                "figment_cpu_s": statistics.median(one[0] for one in taken),
                "peer_cpu_s": statistics.median(one[2] for one in taken),
                "figment_wall_s": statistics.median(one[1] for one in taken),
                "peer_wall_s": statistics.median(one[3] for one in taken),
                "cpu_ratio": spread([ours / peer for ours, _, peer, _ in taken]),
                "aim": AIMS[name],
            }
        )
    return rows


def main() -> int:
    arguments = parser(__doc__).parse_args()
    stages, files, rounds = SCALES[arguments.scale]
    with tempfile.TemporaryDirectory(prefix="figment-no-op-") as folder:
        root, home = Path(folder, "project"), Path(folder, "dagster-home")
        root.mkdir()
        home.mkdir()
        trivial = Path(folder, "trivial.py")
        trivial.write_text(TRIVIAL_ASSET, encoding="utf-8")
        make_project(root, stages=stages, files=files)
        counters = check_equal(root)
        pairs = {
            "status": (command("figment", "status"), command("dvc", "status")),
            "materialize": (
                command("figment", "materialize", "--stale"),
                command("dagster", "asset", "materialize", "--select", "trivial", "-f", str(trivial)),
            ),
        }
        rows = measure(pairs, root=root, home=home, rounds=rounds)
    report = {"scale": arguments.scale, "files": stages * files, "stages": stages, "rounds": rounds, "machine": platform.platform()}
    report |= {"processors": os.cpu_count(), "counters": counters, "cases": rows}
    write_report(arguments.json, report)
    print(f"{report['files']:,} files, {stages} stages, {rounds} pairs; files hashed {counters['files_hashed']}, steps {counters['steps']}")
    print(f"{'case':<12} {'figment CPU s':>14} {'peer CPU s':>11} {'ratio':>7} {'lowest':>7} {'highest':>8} {'aim':>6}")
    for row in rows:
        print(
            f"{row['case']:<12} {row['figment_cpu_s']:>14.3f} {row['peer_cpu_s']:>11.3f} {row['cpu_ratio']['median']:>7.3f} "
            f"{row['cpu_ratio']['lowest']:>7.3f} {row['cpu_ratio']['highest']:>8.3f} {row['aim']:>6}"
        )
    return 1 if any(counters.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
