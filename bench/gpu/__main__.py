"""What the models do on a GPU, within so many minutes; docs/gpu.md says what comes out and how to read it.

python -m bench.gpu prepare                                   # the inputs, where the whole project is installed; minutes on a CPU
python -m bench.gpu --minutes 9 --out gpu_results             # the campaign, where the GPU is; needs little more than torch
python -m bench.gpu score gpu_results --write docs/RESULTS.md # rows, plots and pictures, where the whole project is installed
python -m bench.gpu --tiny --out /tmp/trial                   # all parts at the smallest size on a CPU: what would run, runs
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.gpu.inputs import FOLDER, Inputs, InputsError
from bench.gpu.plan import PARTS, named


def _run(words: Sequence[str]) -> int:
    listing = "\n".join(f"  {part.name:<16} {part.words}" for part in PARTS)
    raw = argparse.RawDescriptionHelpFormatter
    flags = argparse.ArgumentParser(prog="python -m bench.gpu", description=f"{__doc__}\nparts:\n{listing}", formatter_class=raw)
    flags.add_argument("--inputs", type=Path, default=FOLDER, metavar="FOLDER", help="what `prepare` wrote (default: %(default)s)")
    flags.add_argument("--minutes", type=float, default=9.0, help="in all, compiling included (default: %(default)g)")
    flags.add_argument("--out", type=Path, default=Path("gpu_results"), metavar="FOLDER", help="results (default: %(default)s)")
    flags.add_argument("--only", nargs="+", default=[], metavar="PART", help="these parts alone; they share the minutes")
    flags.add_argument("--tiny", action="store_true", help="the smallest sizes, on a CPU where there is no GPU: a trial, no measurement")
    arguments = flags.parse_args(words)
    end = time.monotonic() + 60 * arguments.minutes
    from bench.gpu.campaign import Campaign, CampaignError, ask_facts

    try:
        parts, inputs = named(arguments.only), Inputs(arguments.inputs, most=64 if arguments.tiny else None)
        assert inputs.about
        return Campaign(parts, inputs, arguments.out, ask_facts(), end=end, tiny=arguments.tiny).run()
    except (CampaignError, InputsError, ValueError) as error:
        print(f"bench.gpu: {error}", file=sys.stderr)
        return 2


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["prepare"]:
        from bench.gpu.prepare import main as prepare

        return prepare(words[1:])
    if words[:1] == ["score"]:
        from bench.gpu.score import main as score

        return score(words[1:])
    return _run(words)


if __name__ == "__main__":
    sys.exit(main())
