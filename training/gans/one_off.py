"""A training on a folder of pictures, without the graph: the same job in a data folder of its own.

    python -m training.stylegan3.train --images ~/pictures --out out/mine --resolution 128 --kimg 1000

--out becomes what data/ is to the graph: the set, made from the pictures, and the trained model lie in it, and its .figment has the checkpoints, so
the same command continues, and every other program takes `--data out/mine`. Neither DVC nor MLflow is asked, unless FIGMENT_TRACK=mlflow is set.
"""

import dataclasses
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TypeVar, get_args

from formats.pad_resize import Fit
from stages.params import ParamsError, load_params
from stages.reporting import Reporter
from training.gans.options import GanOptions
from training.gans.picture_folder import make_picture_set
from training.loop.devices import Devices
from training.loop.job import Job, Training

OptionsT = TypeVar("OptionsT", bound=GanOptions)

_SMALLEST_PX = 16


def add_one_off_flags(parser: ArgumentParser) -> None:
    """For `run_job`."""
    group = parser.add_argument_group("any pictures, without the graph")
    group.add_argument("--images", type=Path, metavar="PATH", help="a folder of pictures of any size and kind, or a zip of them")
    group.add_argument("--out", type=Path, metavar="DIR", help="where the set, the model and the checkpoints lie")
    group.add_argument("--resolution", type=int, metavar="PX", help="side of the square pictures, a power of two (default: that of params.yaml)")
    group.add_argument("--fit", choices=get_args(Fit), default="pad", help="pictures that are not square: on white, or their middle (default: pad)")
    group.add_argument("--kimg", type=float, metavar="N", help="thousand pictures to show; short for --set kimg=N")


def one_off(job: Job[OptionsT], arguments: Namespace, *, dataset: str) -> Job[OptionsT]:
    """The job as it was without --images; else one that makes the set `dataset`@PX first. Raises ParamsError.

    The options are those of the job's section, which has `dataset_size` and `resolution`.
    """
    shorthand = [f"kimg={arguments.kimg}"] if arguments.kimg is not None else []
    if arguments.images is None:
        if arguments.out is not None:
            raise ParamsError("--out belongs to --images; the graph's trainings write below --data")
        arguments.overrides = [*_resolution(arguments), *shorthand, *arguments.overrides]
        return job
    if arguments.out is None:
        raise ParamsError("--images needs --out, a folder for the set, the model and the checkpoints")
    if arguments.out.resolve().is_relative_to(arguments.images.expanduser().resolve()):
        raise ParamsError(f"--out {arguments.out} lies among the pictures of --images, and would be trained on; choose another place")
    options = load_params(arguments.params, job.stage, job.options, overrides=[*_resolution(arguments), *arguments.overrides])
    size: int = options.resolution or options.dataset_size  # type: ignore[attr-defined]
    if size < _SMALLEST_PX or size & (size - 1):
        raise ParamsError(f"--resolution must be a power of two from {_SMALLEST_PX} on, found {size}")
    arguments.overrides = [*shorthand, *arguments.overrides, f"dataset_size={size}", f"resolution={size}"]
    arguments.data, arguments.state = arguments.out, arguments.out / ".figment"
    os.environ.setdefault("FIGMENT_TRACK", "none")

    def open_with_pictures(data: Path, options: OptionsT, devices: Devices, reporter: Reporter) -> Training:
        if devices.is_main:
            target, memory = data / f"{dataset}@{size}", arguments.state / f"{dataset}@{size}.key"
            make_picture_set(arguments.images.expanduser(), target, size=size, fit=arguments.fit, memory=memory, reporter=reporter)
        devices.wait()
        return job.open(data, options, devices, reporter)

    return dataclasses.replace(job, open=open_with_pictures)


def _resolution(arguments: Namespace) -> list[str]:
    return [f"resolution={arguments.resolution}"] if arguments.resolution is not None else []
