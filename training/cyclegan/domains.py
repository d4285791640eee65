"""The two sets of pictures of a CycleGAN, and those of them that it is only tried on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from formats.image_shards import ImageSetError
from stages.reporting import Reporter
from training.gans.image_stream import TrainingImages, read_images


@dataclass(frozen=True)
class Domains:
    """By domain, A and B: what is learned from, and what is only shown. All of one size and number of channels.

    tried_on: the names of the sets that are shown, for people.
    """

    train: Mapping[str, TrainingImages]
    test: Mapping[str, TrainingImages]
    tried_on: Mapping[str, str]

    @property
    def resolution(self) -> int:
        return self.train["A"].resolution

    @property
    def channels(self) -> int:
        return self.train["A"].channels


def read_domains(folder: Path, *, resolution: int | None, stage: str, reporter: Reporter) -> Domains:
    """Those of the sets trainA, trainB, testA and testB in `folder`; without test sets, what is learned from is shown. Raises ImageSetError.

    Where one domain is grey and the other in colour, grey is taken for colour: then a picture of either can be given to both generators, which the
    identity loss does, and comes back as it was.
    """
    has_tests = {name: (folder / f"test{name}").is_dir() for name in "AB"}
    tried_on = {name: f"{'test' if has_tests[name] else 'train'}{name}" for name in "AB"}
    sets: dict[str, TrainingImages] = {}
    for name in sorted({"trainA", "trainB", *tried_on.values()}):
        sets[name] = read_images(folder / name, resolution=resolution, with_labels=False, stage=stage, reporter=reporter)
    if missing := [f"test{name}" for name in "AB" if not has_tests[name]]:
        reporter.log(f"WARNING: {folder}: no {' and no '.join(missing)}; what is shown and measured are pictures that were learned from")
    sides = {name: pictures.resolution for name, pictures in sets.items()}
    if len(set(sides.values())) > 1:
        found = ", ".join(f"{name} {side} px" for name, side in sides.items())
        raise ImageSetError(f"{folder}: all sets must be of one size, found {found}; set resolution to the smallest of them")
    if len({pictures.channels for pictures in sets.values()}) > 1:
        grey = [name for name, pictures in sets.items() if pictures.channels == 1]
        reporter.log(f"{stage}: {', '.join(grey)} grey, the others in colour; grey is taken for colour")
        # Three times the same channel; of what has three already, the same.
        sets = {name: TrainingImages(pictures.images.expand(-1, 3, -1, -1).contiguous()) for name, pictures in sets.items()}
    return Domains({name: sets[f"train{name}"] for name in "AB"}, {name: sets[tried_on[name]] for name in "AB"}, tried_on)


def float_pictures(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Uint8 pictures as the networks take them: float32 in [-1, 1] on `device`."""
    return images.to(device).float() / 127.5 - 1
