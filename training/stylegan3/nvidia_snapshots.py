"""Read the weights out of an NVIDIA StyleGAN3 snapshot (.pkl) without running anything in it, and write them as safetensors and JSON.

    python -m training.stylegan3.nvidia_snapshots network-snapshot-005000.pkl data/converted

Such a pickle rebuilds its networks from source text that it carries along: to load it the usual way is to run that text. Here a reader that knows
a few harmless names, all of them answered by stand-ins, collects tensors and constructor arguments; any other name ends the reading, and the source
text is never looked at. Converted weights stay under the licence of the snapshot they come from.
"""

import io
import itertools
import math
import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from formats.pickles import Answer, PickleError, read_pickle
from formats.weights import write_weights
from stages.output_folder import OutputBusyError, OutputFolder
from training.stylegan3.config import StyleGAN3Config, layer_schedule
from training.stylegan3.discriminator import Discriminator
from training.stylegan3.generator import TRAINED, Generator, StyleGAN3Error, load_generator, save_generator

# Every pickled tensor's storage begins so (torch's format before 1.6): protocol 2, then torch's magic number. Archives and tar files do not.
_STORAGE_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_STORAGE_INSTRUCTIONS = 200  # that torch writes around the numbers of a tensor; they are some thirty
# Far above what any snapshot has (the largest published ones: 360 MB, 14 layers, 1024 px), and little enough to be read in seconds.
_LARGEST_FILE_BYTES = 4 * 2**30
_MOST_PARTS = 10_000
_MOST_DIMENSIONS = 8
_MOST_LAYERS, _LARGEST_SIDE, _WIDEST = 32, 2048, 2**14
_LARGEST_ARGUMENT = 2**24
_LONGEST_NAME, _SHOWN = 200, 60
_COPIES = 2  # protocol 2 writes bytes as text, which are made bytes and then numbers
_LAYER = re.compile(r"synthesis\.L(\d{1,6})_(\d{1,6})_(\d{1,6})\.weight")

Built = TypeVar("Built", Generator, Discriminator)


class SnapshotError(StyleGAN3Error):
    """A file is no StyleGAN3 snapshot, or asks for something that reading weights does not need."""


@dataclass(frozen=True)
class Network:
    """One network of a snapshot: its tensors by state-dict name, and the keyword arguments it was constructed with (may be empty)."""

    tensors: dict[str, Tensor]
    arguments: dict[str, Any]


def read_snapshot(path: Path) -> dict[str, Network]:
    """The networks in `path` by name (G, D, G_ema; whichever are there). Raises SnapshotError; runs nothing that the file brings along."""
    tree = _load(path)
    if not isinstance(tree, dict):
        raise SnapshotError(f"{path}: holds {_kind(tree)}, expected a dictionary with G_ema; older TensorFlow snapshots are not read")
    networks = {name: _network(tree[name], f"{path}: {name}") for name in ("G", "D", "G_ema") if isinstance(tree.get(name), _StoredModule)}
    if not networks:
        raise SnapshotError(f"{path}: holds neither G_ema, G nor D; found {_first(tree)}")
    # A file may use the same numbers again and again, for networks much larger than itself.
    if sum(tensor.nbytes for network in networks.values() for tensor in network.tensors.values()) > _COPIES * path.stat().st_size:
        raise SnapshotError(f"{path}: its networks have more numbers than the file holds")
    return networks


def convert_snapshot(source: Path, target: Path) -> StyleGAN3Config:
    """Write generator.safetensors (of G_ema, or G) and config.json into `target`, and what else a training that starts from it can use.

    That is TRAINED (G, where there is G_ema too: the weights that were trained on, and not their average) and discriminator.safetensors.
    Raises SnapshotError, also for networks other than StyleGAN3 configurations T and R.
    """
    networks = read_snapshot(source)
    name, config = _generator_of(networks, source)
    with OutputFolder(target) as output:
        save_generator(output.folder, _build(Generator, config, networks[name], f"{source}: {name}"))
        if name == "G_ema" and "G" in networks:
            write_weights(output.file(TRAINED), _build(Generator, config, networks["G"], f"{source}: G"))
        if "D" in networks:
            write_weights(output.file("discriminator.safetensors"), _build(Discriminator, config, networks["D"], f"{source}: D"))
    return config


def open_generator(source: Path, *, device: str | torch.device = "cpu") -> Generator:
    """The generator to draw with: of a snapshot (.pkl), or of a folder as `load_generator` reads it. Raises StyleGAN3Error."""
    if not source.is_file():
        return load_generator(source, device=device)
    networks = read_snapshot(source)
    name, config = _generator_of(networks, source)
    return _build(Generator, config, networks[name], f"{source}: {name}").to(device).eval().requires_grad_(False)


def _generator_of(networks: Mapping[str, Network], source: Path) -> tuple[str, StyleGAN3Config]:
    """Which network draws, and the configuration of all of them."""
    name = "G_ema" if "G_ema" in networks else "G"
    if name not in networks:
        raise SnapshotError(f"{source}: holds no generator, only {', '.join(networks)}")
    config = infer_config(networks[name], where=f"{source}: {name}")
    return name, _with_discriminator(config, networks["D"]) if "D" in networks else config


def _build(kind: type[Built], config: StyleGAN3Config, network: Network, where: str) -> Built:
    # First without numbers, so that nothing is made larger than what the file holds.
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in kind(config).state_dict().items()}
    wrong: list[str] = [name for name, tensor in network.tensors.items() if name in shapes and tensor.shape != shapes[name]]
    missing: list[str] = [name for name in shapes if name not in network.tensors and not name.endswith(".resample_filter")]
    if wrong or missing:
        raise SnapshotError(f"{where}: its tensors are not those of the network it seems to be: {_first([*missing, *wrong])}")
    with torch.random.fork_rng(devices=[]):  # The weights drawn here are replaced at once.
        module = kind(config)
    _fill(module, network, where)
    return module


def infer_config(network: Network, *, where: str) -> StyleGAN3Config:
    """The configuration whose generator has exactly the layers of `network`. Raises SnapshotError when there is none."""
    tensors, arguments = network.tensors, network.arguments
    # Layers are named L{index}_{size}_{channels}: nearly all of the configuration can be read off names and shapes.
    found = sorted(tuple(map(int, match.groups())) for name in tensors if (match := _LAYER.fullmatch(name)))
    if not found or "synthesis.input.affine.weight" not in tensors or "mapping.fc0.weight" not in tensors:
        raise SnapshotError(f"{where}: not a StyleGAN3 generator (no layers named synthesis.L0_…); its first tensors are {_first(tensors)}")
    num_layers, resolution, channels = found[-1]
    indices, sizes, widths = zip(*found, strict=True)
    if list(indices) != list(range(len(found))) or num_layers > _MOST_LAYERS or max(sizes) > 2 * _LARGEST_SIDE or max(widths) > _WIDEST:
        raise SnapshotError(
            f"{where}: expected layers numbered from 0 to at most {_MOST_LAYERS}, of pictures up to {_LARGEST_SIDE} px; found {len(found)} layers, "
            f"the last one {num_layers}, up to {max(sizes)} px"
        )

    def inputs(name: str, *, dimensions: int = 2) -> int:
        if tensors[name].ndim != dimensions:
            raise SnapshotError(f"{where}: {name} has {tensors[name].ndim} dimensions, expected {dimensions}")
        return tensors[name].shape[-1]

    kernel = inputs(f"synthesis.L0_{found[0][1]}_{found[0][2]}.weight", dimensions=4)
    width = 2 if kernel == 1 else 1
    w_dim = inputs("synthesis.input.affine.weight")
    label_dim = inputs("mapping.embed.weight") if "mapping.embed.weight" in tensors else 0
    try:
        config = StyleGAN3Config(
            cfg="stylegan3-r" if kernel == 1 else "stylegan3-t",
            resolution=resolution,
            channels=channels,
            label_dim=label_dim,
            z_dim=inputs("mapping.fc0.weight") - (w_dim if label_dim else 0),
            w_dim=w_dim,
            map_depth=sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in tensors),
            cmax=max(channel for _, _, channel in found[:-1]) // width,
            num_layers=num_layers,
            magnitude_ema_beta=_number(arguments, "magnitude_ema_beta", StyleGAN3Config.magnitude_ema_beta),
            conv_clamp=_number(arguments, "conv_clamp", StyleGAN3Config.conv_clamp),
        )
    except ValueError as error:
        raise SnapshotError(f"{where}: {error}") from None
    # What shapes do not tell is tried: the margin follows from the first layer's size, cbase is the one whose schedule has these channels.
    config = replace(config, margin=max((found[0][1] - layer_schedule(config)[0].out_rate) // 2, 0))
    given = [int(_number(arguments, "channel_base", 0)) // width] if "channel_base" in arguments else []
    for cbase in (*given, *(2**power for power in range(6, 20))):
        candidate = replace(config, cbase=max(cbase, 1))
        if [(spec.index, spec.out_size, spec.out_channels) for spec in layer_schedule(candidate)] == found:
            return candidate
    layers = ", ".join(f"L{index}_{size}_{channel}" for index, size, channel in found)
    raise SnapshotError(f"{where}: no configuration of StyleGAN3 has these layers: {layers}")


def _with_discriminator(config: StyleGAN3Config, network: Network) -> StyleGAN3Config:
    """What only the discriminator says: how deep labels are embedded, and how many pictures its minibatch deviation looks at."""
    depth = sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in network.tensors)
    last = network.arguments.get("epilogue_kwargs")
    group = int(_number(last if isinstance(last, dict) else {}, "mbstd_group_size", config.mbstd_group))
    return replace(config, discriminator_map_depth=depth or config.discriminator_map_depth, mbstd_group=max(group, 1))


def _number(arguments: Mapping[str, Any], name: str, default: float) -> float:
    value = arguments.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST_ARGUMENT
    return float(value) if is_number else default  # type: ignore[arg-type]


def _fill(module: nn.Module, network: Network, where: str) -> None:
    """Load the tensors into `module`. The discriminator's blur is a constant that not every version stores; all other names must agree."""
    own = module.state_dict()
    tensors = {name: tensor for name, tensor in network.tensors.items() if name in own or not name.endswith(".resample_filter")}
    tensors = {**{name: tensor for name, tensor in own.items() if name.endswith(".resample_filter")}, **tensors}
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise SnapshotError(f"{where}: its tensors are not those of the network it seems to be: {' '.join(str(error).split())}") from None
    bad = next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)
    if bad is not None:
        raise SnapshotError(f"{where}: {bad} holds numbers that are not finite; this training had diverged, take an earlier snapshot")


def _network(module: "_StoredModule", where: str) -> Network:
    arguments = module.state.get("_init_kwargs")
    return Network(dict(_tensors(module, where)), dict(arguments) if isinstance(arguments, dict) else {})


def _tensors(root: "_StoredModule", where: str) -> Iterator[tuple[str, Tensor]]:
    """(state-dict name, tensor) of a module tree, in order."""
    # Depth first and in order, without recursion, and with an end: a pickle may nest modules in themselves, and hold each as often as it likes.
    pending: list[tuple[str, Any]] = [("", root)]
    left = _MOST_PARTS
    while pending:
        prefix, module = pending.pop()
        if not isinstance(module, _StoredModule):
            raise SnapshotError(f"{where}: {prefix or 'it'} is {_kind(module)}, expected a network")
        parts = [module.state.get(key) for key in ("_parameters", "_buffers", "_modules")]
        if not all(isinstance(part, dict) for part in parts):
            raise SnapshotError(f"{where}: {prefix or 'it'} is not the state of a torch module (no _parameters, _buffers and _modules)")
        parameters, buffers, modules = parts
        left -= 1 + len(parameters) + len(buffers) + len(modules)  # type: ignore[arg-type]
        if left < 0 or len(prefix) > _LONGEST_NAME:
            raise SnapshotError(f"{where}: more than {_MOST_PARTS:,} tensors and modules, or inside one another without end; not a StyleGAN3")
        for name, value in (*parameters.items(), *buffers.items()):  # type: ignore[union-attr]
            if isinstance(value, Tensor):
                yield f"{prefix}{name[:_LONGEST_NAME]}", value
            elif value is not None:
                raise SnapshotError(f"{where}: {prefix}{name[:_SHOWN]} is {_kind(value)}, expected a tensor")
        children = [(f"{prefix}{name[:_LONGEST_NAME]}.", child) for name, child in modules.items() if child is not None]  # type: ignore[union-attr]
        pending.extend(reversed(children))


# Reading


class _StoredModule:
    """Stands in for a network or a layer: its attributes as a dictionary, not an object that does anything."""

    __slots__ = ("state",)

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state


class _Contents:
    """Answers all that a snapshot may ask for. Nothing here imports, calls or evaluates what the file says.

    file_bytes: what calls make of the file is no more than some copies of it, however often it asks for the same.
    """

    def __init__(self, file_bytes: int) -> None:
        self._left = _COPIES * file_bytes
        self.answers: dict[tuple[str, str], Answer | None] = {
            ("torch_utils.persistence", "_reconstruct_persistent_obj"): _stored_module,
            ("torch.storage", "_load_from_bytes"): self._storage,
            ("_codecs", "encode"): self._encoded,
            **{("torch._utils", name): _tensor for name in ("_rebuild_tensor", "_rebuild_tensor_v2")},
            ("torch._utils", "_rebuild_parameter"): lambda arguments: arguments[0],
            **dict.fromkeys((("dnnlib.util", "EasyDict"), ("dnnlib", "EasyDict"), ("collections", "OrderedDict")), _empty),
            # What is read and never used: sizes, sets, devices, numbers and arrays of numpy.
            **{("torch", name): None for name in ("Size", "device", "float16", "float32", "float64", "bfloat16", "int32", "int64", "uint8", "bool")},
            **{(module, "set"): None for module in ("builtins", "__builtin__")},
            **{(f"numpy.{core}.multiarray", name): None for core in ("core", "_core") for name in ("_reconstruct", "scalar")},
            **{("numpy", name): None for name in ("ndarray", "dtype")},
        }

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise SnapshotError("it makes more of its numbers than it holds")

    def _encoded(self, arguments: tuple[Any, ...]) -> bytes:
        """Bytes as protocol 2 writes them."""
        text, encoding = arguments
        if type(text) is not str or encoding != "latin1":
            raise SnapshotError(f"it encodes {_kind(text)}, expected bytes written as text")
        self.spend(len(text))
        return text.encode("latin-1")

    def _storage(self, arguments: tuple[Any, ...]) -> Tensor:
        """The numbers of a tensor, [N], in torch's format before 1.6: five pickles, then number and bytes of each storage."""
        (data,) = arguments
        if type(data) is not bytes or not data.startswith(_STORAGE_MAGIC):
            raise SnapshotError(f"a tensor's numbers are {_kind(data)} of an unknown format")
        self.spend(len(data))
        stream = io.BytesIO(data)
        _magic, _protocol, machine = (read_pickle(stream, {}, most_instructions=_STORAGE_INSTRUCTIONS) for _ in range(3))
        found = read_pickle(stream, _STORAGES, persistent=lambda reference: reference, most_instructions=_STORAGE_INSTRUCTIONS)
        keys = read_pickle(stream, {}, most_instructions=_STORAGE_INSTRUCTIONS)
        match found, keys, machine:
            case (("storage", torch.dtype() as dtype, str(key), _, int(count), None), [str(only)], {"little_endian": True}) if key == only:
                body = stream.read()
                if int.from_bytes(body[:8], "little") == count and len(body) == 8 + count * dtype.itemsize:
                    return torch.frombuffer(bytearray(body), dtype=dtype, offset=8) if count else torch.empty(0, dtype=dtype)
        raise SnapshotError("a tensor's numbers are damaged: not one storage with as many numbers as it says")


def _stored_module(arguments: tuple[Any, ...]) -> _StoredModule:
    (meta,) = arguments
    if type(meta) is not dict or meta.get("type") != "class" or type(meta.get("state")) is not dict:
        raise SnapshotError(f"a persistent object without a class and a state: {_kind(meta)}")
    return _StoredModule(meta["state"])


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    """A part of a storage, as a view; every index is checked first."""
    storage, offset, size, stride = arguments[:4]
    is_cut = type(size) is tuple and type(stride) is tuple and len(size) == len(stride) <= _MOST_DIMENSIONS
    if type(storage) is not Tensor or storage.ndim != 1 or not is_cut:
        raise SnapshotError(f"a tensor of impossible shape: {_kind(size)} and {_kind(stride)} of {_kind(storage)}")
    if not all(type(number) is int and 0 <= number < 2**40 for number in (offset, *size, *stride)):
        raise SnapshotError("a tensor of impossible shape: expected an offset, sizes and strides from 0 on")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    # A stride of 0 would make a huge tensor of few numbers.
    if math.prod(size) > len(storage) or (0 not in size and last >= len(storage)):
        raise SnapshotError(f"a tensor larger than its {len(storage):,} numbers: offset {offset}, size {size}, stride {stride}")
    return torch.as_strided(storage, size, stride, offset)


def _empty(arguments: tuple[Any, ...]) -> dict[str, Any]:
    if arguments:
        raise SnapshotError("a dictionary made of another; expected one that is filled item by item")
    return {}


_DTYPES = {
    "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16, "Double": torch.float64, "Byte": torch.uint8, "Char": torch.int8,
    "Short": torch.int16, "Int": torch.int32, "Long": torch.int64, "Bool": torch.bool,
}  # fmt: skip
_STORAGES = {(module, f"{name}Storage"): dtype for module in ("torch", "torch.cuda") for name, dtype in _DTYPES.items()}


def _load(path: Path) -> Any:
    size = path.stat().st_size
    if size > _LARGEST_FILE_BYTES:
        raise SnapshotError(f"{path}: {size:,} bytes, and no StyleGAN3 snapshot has more than {_LARGEST_FILE_BYTES:,}")
    try:
        return read_pickle(io.BytesIO(path.read_bytes()), _Contents(size).answers)
    except (SnapshotError, PickleError) as error:
        raise SnapshotError(f"{path}: {error}; take the snapshot from where it was published, or convert it where you trust it") from None


def _kind(value: object) -> str:
    names = {dict: "a dictionary", list: "a list", tuple: "a tuple", str: "text", bytes: "bytes", type(None): "nothing"}
    return names.get(type(value), f"a {type(value).__name__.strip('_')}")


def _first(names: Iterable[str]) -> str:
    return ", ".join(name[:_SHOWN] for name in itertools.islice(names, 3)) or "none"


def main(argv: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("snapshot", type=Path, help="the .pkl file")
    parser.add_argument("folder", type=Path, help="where generator.safetensors, discriminator.safetensors and config.json go")
    arguments = parser.parse_args(argv)
    try:
        config = convert_snapshot(arguments.snapshot, arguments.folder)
    except (SnapshotError, OutputBusyError, OSError) as error:
        print(f"figment: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 1
    print(f"{arguments.folder}: {config.cfg}, {config.resolution} px, cbase {config.cbase}, cmax {config.cmax}; under the snapshot's own licence")
    return 0


if __name__ == "__main__":
    sys.exit(main())
