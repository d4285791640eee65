"""Checkpoints of junyanz' pytorch-CycleGAN-and-pix2pix become our model folder.

    python -m training.cyclegan.junyanz checkpoints/style_monet data/cyclegan_paintings         # reads latest_net_G_A.pth and its like
    python -m training.cyclegan.junyanz checkpoints/style_monet out/epoch_100 --epoch 100

Only tensors are read from their files: nothing in them can run. What the networks are is told by names and shapes.
"""

import argparse
import dataclasses
import pickle
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from formats.weights import write_weights
from stages.bounded import take_memory
from stages.output_folder import OutputBusyError, OutputFolder
from training.cyclegan.config import CycleGANConfig
from training.cyclegan.discriminator import make_discriminators
from training.cyclegan.generator import CycleGANError, make_generators, save_generators

NETWORKS = ("G_A", "G_B", "D_A", "D_B")
_EXPECTED = "expected the state dict of one of junyanz' networks (torch.save of names and tensors)"
# Of torch, pickle and zip, about files that are not what they should be.
_COMPLAINTS = (
    pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError, TypeError,
    ArithmeticError, AssertionError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
# Beyond what is loaded anyhow. The four networks have 200 MB in all.
_MEMORY_MIB = 4_096
# Statistics that instance normalisation once kept and never used.
_UNUSED = (".running_mean", ".running_var", ".num_batches_tracked")


def import_checkpoints(source: Path, target: Path, *, epoch: str = "latest", resolution: int = 256) -> CycleGANConfig:
    """Make the model folder `target` of `source`/<epoch>_net_G_A.pth and G_B; D_A and D_B come along where they are. Raises CycleGANError.

    resolution: that it was trained at (their crop_size), which their files do not say.
    """
    paths = {name: source / f"{epoch}_net_{name}.pth" for name in NETWORKS}
    if missing := [paths[name].name for name in ("G_A", "G_B") if not paths[name].is_file()]:
        there = sorted(path.name.removesuffix("_net_G_A.pth") for path in source.glob("*_net_G_A.pth"))
        raise CycleGANError(
            f"{source}: no {' and no '.join(missing)}; " + (f"there are the epochs {', '.join(there)}" if there else "a CycleGAN has both generators")
        )
    states = {name: read_state(path) for name, path in paths.items() if path.is_file()}
    shapes = {name: (_generator_shape if name.startswith("G") else _discriminator_shape)(states[name], paths[name]) for name in states}
    for one, other in (("G_A", "G_B"), ("D_A", "D_B")):
        kinds = [{key: value for key, value in shapes.get(name, {}).items() if "channels" not in key} for name in (one, other)]
        if {one, other} <= set(shapes) and kinds[0] != kinds[1]:
            raise CycleGANError(f"{paths[other]}: {kinds[1]}, but {one} is {kinds[0]}; both must be of one training")
    channels_a, channels_b = (shapes["G_A"].pop(name) for name in ("channels_in", "channels_out"))
    of_d = {key: value for name in ("D_A", "D_B") for key, value in shapes.get(name, {}).items()}
    config = CycleGANConfig(resolution=resolution, channels_a=channels_a, channels_b=channels_b, **shapes["G_A"], **of_d)
    # Networks without memory: a file that only claims to hold large ones is found out before anything is made for it.
    with torch.device("meta"):
        generators, discriminators = make_generators(config), make_discriminators(config)
    networks: dict[str, nn.Module] = {"G_A": generators.a_to_b, "G_B": generators.b_to_a, **discriminators}
    for name, state in states.items():
        try:
            networks[name].load_state_dict(state, assign=True)
        except RuntimeError as error:
            kind = config.net_g if name.startswith("G") else "discriminator"
            raise CycleGANError(f"{paths[name]}: not the weights of a {kind} ({' '.join(str(error).split())[:300]})") from None
    with OutputFolder(target) as output:
        save_generators(output.folder, generators)
        for name in sorted(set(states) & set(discriminators)):
            write_weights(output.file(f"{name}.safetensors"), networks[name])
    return config


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by the names our networks have for them. Raises CycleGANError; nothing of the file is run."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as parts:
                if sum(part.file_size for part in parts.infolist()) > path.stat().st_size:
                    raise CycleGANError(f"{path}: its parts are larger than the file, and torch packs nothing; {_EXPECTED}")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except _COMPLAINTS as error:
        raise CycleGANError(f"{path}: cannot be read safely ({' '.join(str(error).split())[:200]}); {_EXPECTED}") from None
    if not isinstance(found, Mapping) or not found or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()):
        raise CycleGANError(f"{path}: holds {type(found).__name__}; {_EXPECTED}")
    if sum(value.numel() for value in found.values()) > path.stat().st_size:
        raise CycleGANError(f"{path}: claims more numbers than it has bytes; {_EXPECTED}")
    # Networks that were trained on several GPUs were saved with their wrapper's name before each of theirs.
    state = {name.removeprefix("module."): value.float() for name, value in found.items()}
    if any(name.endswith(".weight") and value.ndim == 1 for name, value in state.items()):
        raise CycleGANError(f"{path}: has batch normalisation (--norm batch); a CycleGAN here has instance normalisation, as theirs has by default")
    # With dropout (never used when pictures are drawn) a block's second convolution stands one place further on.
    return {re.sub(r"(conv_block)\.6\.", r"\1.5.", name): value for name, value in state.items() if not name.endswith(_UNUSED)}


def _generator_shape(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    if "model.1.weight" in state:
        first, last = state["model.1.weight"], state[f"model.{max(int(name.split('.')[1]) for name in state)}.weight"]
        blocks = len({name.split(".")[1] for name in state if ".conv_block." in name})
        return {"net_g": f"resnet_{blocks}blocks", "ngf": len(first), "channels_in": first.shape[1], "channels_out": len(last)}
    if "model.model.0.weight" in state and "model.model.3.weight" in state:
        first, last = state["model.model.0.weight"], state["model.model.3.weight"]
        levels = sum(re.search(r"model\.[01]\.weight$", name) is not None for name in state)
        return {"net_g": f"unet_{2**levels}", "ngf": len(first), "channels_in": first.shape[1], "channels_out": last.shape[1]}
    raise CycleGANError(f"{path}: no generator that is known (first name: {next(iter(state))}); expected a resnet_9blocks, resnet_6blocks or unet")


def _discriminator_shape(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    layers = [tensor for name, tensor in state.items() if name.endswith(".weight")]
    if "model.0.weight" not in state or len(layers) < 3:
        raise CycleGANError(f"{path}: no discriminator that is known (first name: {next(iter(state))}); expected basic or n_layers")
    return {"ndf": len(layers[0]), "n_layers_d": len(layers) - 2}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="CHECKPOINTS", help="their folder of checkpoints")
    parser.add_argument("target", type=Path, metavar="FOLDER", help="the model folder to write")
    parser.add_argument("--epoch", default="latest", help="the beginning of their files' names (default: %(default)s)")
    parser.add_argument("--resolution", type=int, default=256, metavar="PX", help="side it was trained at (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        config = import_checkpoints(arguments.source, arguments.target, epoch=arguments.epoch, resolution=arguments.resolution)
    except (CycleGANError, OutputBusyError, OSError) as error:
        print(f"figment: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 1
    print(f"{arguments.target}: {dataclasses.asdict(config)}")
    return 0


if __name__ == "__main__":
    take_memory(_MEMORY_MIB)
    sys.exit(main())
