"""Every benchmark, one after the other; each checks that both sides give the same result before it times them.

    python -m bench                              # smoke scale, a few minutes
    python -m bench --scale std no_op sampling   # full size, those two
    python -m bench.bakeoff --seeds 3            # with flags of its own

Figures go to bench/results/<name>.json as well. Run them on an idle machine; the ratios are what to quote. `quality_cpu` is not among them:
it trains for minutes and measures a model, not speed; nor is `guided`, which needs a trained model (`python -m bench.guided --model data/polygpt`),
nor `gpu`, a campaign for a GPU (`python -m bench.gpu --help`),
nor `speedrun`, which trains every model three times and more (docs/SPEEDRUN.md).
"""

import argparse
import subprocess
import sys
from pathlib import Path

BENCHES = {
    "crawl": "our crawl beside plain Scrapy with its FilesPipeline",
    "quiet_month": "a simulated month of nights in which next to nothing changes, alone or beside the crawl of another checkout",
    "publisher_pages": "every page object on real pages of its publisher, beside a bare parsel script (needs ../shared)",
    "nights": "what a night without changes, and one of 1 %, costs `papers` beside its first build",
    "no_op": "what it costs to learn that there is nothing to do, beside `dvc status` and `dagster asset materialize`",
    "smiles_pass": "the molecules stage beside a bare RDKit loop",
    "molecule_metrics": "molecule metrics beside the reference functions of MOSES",
    "frechet": "the Frechet distance beside the matrix root of scipy",
    "image_dataset": "the ToC image dataset beside padding to disk and a StyleGAN dataset tool",
    "pdf_pages": "drawing PDF pages beside pdf2image and plain pypdfium2",
    "pggan_step": "a training step of the progressive GAN beside the same step written plainly",
    "modulated_convolution": "StyleGAN3's modulated convolution by scaling, by groups and by matrix products",
    "cyclegan_step": "a training step of CycleGAN beside the published step in plain torch",
    "bakeoff": "every model of molecules from several seeds before one judge",
    "sampling": "PolyGPT's sampling with its cache beside the loop without",
}
RESULTS = Path(__file__).with_name("results")


def main() -> int:
    listing = "\n".join(f"  {name:<18} {words}" for name, words in BENCHES.items())
    description = f"{__doc__}\n{listing}"
    parser = argparse.ArgumentParser(prog="python -m bench", description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *BENCHES], help="all when none is named")
    parser.add_argument("--scale", choices=("smoke", "std"), default="smoke")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in arguments.names or BENCHES:
        print(f"\n== {name}: {BENCHES[name]}\n", flush=True)
        command = [sys.executable, "-m", f"bench.{name}", "--scale", arguments.scale, "--json", str(RESULTS / f"{name}.json")]
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"\nbench: {', '.join(failed)} failed; see above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
