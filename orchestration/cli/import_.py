"""Bring along what other programs left: configurations, pictures and weights.

  deepzine       DeepZine's config.yaml as a preset, with a table of what each field became
  deepzine-hdf5  the pictures of DeepZine's data.hdf5 as an image set that trainings read
  cyclegan       the checkpoints of junyanz' CycleGAN (latest_net_G_A.pth …) as a model folder

Nothing that exists is written over.

Examples:
  figment import deepzine ~/DeepZine/config.yaml --out presets/mine.yaml
  figment import deepzine-hdf5 ~/data.hdf5 imported/page_dataset@128
  figment import cyclegan ~/checkpoints/style_monet imported/cyclegan_paintings

exit codes: 0 brought along · 1 it cannot be read, or the place is taken · 2 wrong usage or configuration
"""

import argparse
import os
import sys
from pathlib import Path

from orchestration.errors import CommandError, Exit
from orchestration.terminal import table


def configure(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    deepzine = kinds.add_parser("deepzine", help="a configuration", allow_abbrev=False)
    deepzine.add_argument("source", type=Path, metavar="CONFIG")
    deepzine.add_argument("--out", type=Path, dest="target", metavar="FILE", help="the preset to write (default: presets/deepzine.yaml)")
    pictures = kinds.add_parser("deepzine-hdf5", help="pictures", allow_abbrev=False)
    pictures.add_argument("source", type=Path, metavar="FILE")
    pictures.add_argument("target", type=Path, metavar="FOLDER")
    pictures.add_argument("--resolution", type=int, default=None, metavar="PX", help="which pictures of the file (default: the largest)")
    weights = kinds.add_parser("cyclegan", help="weights", allow_abbrev=False)
    weights.add_argument("source", type=Path, metavar="CHECKPOINTS")
    weights.add_argument("target", type=Path, metavar="FOLDER")
    weights.add_argument("--epoch", default="latest", help="which of them (default: %(default)s)")
    weights.add_argument("--resolution", type=int, default=256, metavar="PX", help="side they were trained at (default: %(default)s)")


def run(root: Path, arguments: argparse.Namespace) -> int:
    source = arguments.source.expanduser()
    target = (arguments.target or root / "presets/deepzine.yaml").expanduser()
    if target.exists():
        raise CommandError(f"{target}: exists already; name another place, or remove it first", Exit.DISAGREES)
    if arguments.kind == "cyclegan":
        words = ["-m", "training.cyclegan.junyanz", str(source), str(target), "--epoch", arguments.epoch, "--resolution", str(arguments.resolution)]
        # This process becomes the program, which is also there for itself.
        os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - no shell is wanted
    return _deepzine(source, target, root) if arguments.kind == "deepzine" else _pictures(source, target, arguments.resolution)


def _pictures(source: Path, target: Path, resolution: int | None) -> int:
    from orchestration.imports.picture_hdf5 import import_hdf5

    found = import_hdf5(source, target, resolution=resolution)
    kind = "grey" if found.channels == 1 else "RGB"
    print(f"{target}: {found.pictures:,} pictures of {found.side} x {found.side} px, {kind}, from {found.name}")
    if found.set_aside:
        print(f"{found.set_aside:,} were set aside: they hold values that are no numbers")
    return Exit.WELL


def _deepzine(source: Path, target: Path, root: Path) -> int:
    from ruamel.yaml import YAML

    from orchestration.imports.deepzine_config import translate
    from stages.params import ParamsError

    try:
        found = translate(source)
    except ParamsError as error:
        raise CommandError(str(error)) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8") as stream:
        stream.write(f"# What {source.name} of DeepZine asks for, by `figment import deepzine`.\n\n")
        YAML().dump(found.sections, stream)
    print("\n".join(table(found.rows, ("field", "value", "became"))))
    here = target.resolve().parent == (root / "presets").resolve()
    print(f"\n{target} is written. {f'`figment preset {target.stem}` takes it into params.yaml' if here else 'Move it to presets/ to use it'};")
    print(f"then set archive_items.contact, and `figment materialize {' '.join(found.stages)}`" if found.stages else "none of its switches is on")
    return Exit.WELL
