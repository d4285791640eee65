"""Read the weights out of an NVIDIA StyleGAN3 snapshot (.pkl) without running anything in it, and write them as safetensors and JSON.

    python -m training.stylegan3.nvidia_snapshots network-snapshot-005000.pkl data/converted

Such a pickle rebuilds its networks from source text that it carries along: to load it the usual way is to run that text. Here a reader that knows
a few harmless names, all of them answered by stand-ins, collects tensors and constructor arguments; any other name ends the reading, and the source
text is never looked at. Converted weights stay under the licence of the snapshot they come from.
"""

import io
import pickle
import re
import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from formats.weights import write_weights
from stages.output_folder import OutputBusyError, OutputFolder
from training.stylegan3.config import StyleGAN3Config, layer_schedule
from training.stylegan3.discriminator import Discriminator
from training.stylegan3.generator import Generator, save_generator

# Every pickled tensor's storage begins so (torch's format before 1.6): protocol 2, then torch's magic number. Archives and tar files do not.
_STORAGE_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MOST_MODULES = 10_000
_LAYER = re.compile(r"synthesis\.L(\d+)_(\d+)_(\d+)\.weight")


class SnapshotError(Exception):
    """A file is no StyleGAN3 snapshot, or asks for something that reading weights does not need."""


@dataclass(frozen=True)
class Network:
    """One network of a snapshot: its tensors by state-dict name, and the keyword arguments it was constructed with (may be empty)."""

    tensors: dict[str, Tensor]
    arguments: dict[str, Any]


def read_snapshot(path: Path) -> dict[str, Network]:
    """The networks in `path` by name (G, D, G_ema; whichever are there). Raises SnapshotError; runs nothing that the file brings along."""
    with path.open("rb") as stream:
        tree = _load(stream, path)
    if not isinstance(tree, dict):
        raise SnapshotError(f"{path}: holds {_kind(tree)}, expected a dictionary with G_ema; older TensorFlow snapshots are not read")
    networks = {name: _network(tree[name], f"{path}: {name}") for name in ("G", "D", "G_ema") if isinstance(tree.get(name), _StoredModule)}
    if not networks:
        raise SnapshotError(f"{path}: holds neither G_ema, G nor D; found {', '.join(map(str, list(tree)[:5])) or 'nothing'}")
    return networks


def convert_snapshot(source: Path, target: Path) -> StyleGAN3Config:
    """Write generator.safetensors (of G_ema, or G), discriminator.safetensors (where there is one) and config.json into `target`.

    Raises SnapshotError, also for networks other than StyleGAN3 configurations T and R.
    """
    networks = read_snapshot(source)
    name = "G_ema" if "G_ema" in networks else "G"
    if name not in networks:
        raise SnapshotError(f"{source}: holds no generator, only {', '.join(networks)}")
    config = infer_config(networks[name], where=f"{source}: {name}")
    config = _with_discriminator_depth(config, networks.get("D"))
    with torch.random.fork_rng(devices=[]):  # The weights drawn here are replaced at once.
        generator, discriminator = Generator(config), Discriminator(config)
    _fill(generator, networks[name], f"{source}: {name}")
    with OutputFolder(target) as output:
        save_generator(output.folder, generator)
        if "D" in networks:
            _fill(discriminator, networks["D"], f"{source}: D")
            write_weights(output.file("discriminator.safetensors"), discriminator)
    return config


def infer_config(network: Network, *, where: str) -> StyleGAN3Config:
    """The configuration whose generator has exactly the layers of `network`. Raises SnapshotError when there is none."""
    tensors, arguments = network.tensors, network.arguments
    # Layers are named L{index}_{size}_{channels}: nearly all of the configuration can be read off names and shapes.
    found = sorted(tuple(map(int, match.groups())) for name in tensors if (match := _LAYER.fullmatch(name)))
    if not found or "synthesis.input.affine.weight" not in tensors or "mapping.fc0.weight" not in tensors:
        raise SnapshotError(f"{where}: not a StyleGAN3 generator (no layers named synthesis.L0_…); its first tensors are {_first(tensors)}")
    num_layers, resolution, channels = found[-1]
    kernel = tensors[f"synthesis.L0_{found[0][1]}_{found[0][2]}.weight"].shape[2]
    width = 2 if kernel == 1 else 1
    w_dim = tensors["synthesis.input.affine.weight"].shape[1]
    label_dim = tensors["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in tensors else 0
    try:
        config = StyleGAN3Config(
            cfg="stylegan3-r" if kernel == 1 else "stylegan3-t",
            resolution=resolution,
            channels=channels,
            label_dim=label_dim,
            z_dim=tensors["mapping.fc0.weight"].shape[1] - (w_dim if label_dim else 0),
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


def _with_discriminator_depth(config: StyleGAN3Config, network: Network | None) -> StyleGAN3Config:
    depth = sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in network.tensors) if network else 0
    return replace(config, discriminator_map_depth=depth) if depth else config


def _number(arguments: Mapping[str, Any], name: str, default: float) -> float:
    value = arguments.get(name)
    return default if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


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
    # Depth first and in order, without recursion, and with an end: a pickle may nest modules in themselves.
    pending: list[tuple[str, Any]] = [("", root)]
    for _ in range(_MOST_MODULES):
        if not pending:
            return
        prefix, module = pending.pop()
        if not isinstance(module, _StoredModule):
            raise SnapshotError(f"{where}: {prefix or 'it'} is {_kind(module)}, expected a network")
        parts = [module.state.get(key) for key in ("_parameters", "_buffers", "_modules")]
        if not all(isinstance(part, dict) for part in parts):
            raise SnapshotError(f"{where}: {prefix or 'it'} is not the state of a torch module (no _parameters, _buffers and _modules)")
        parameters, buffers, modules = parts
        for name, value in (*parameters.items(), *buffers.items()):  # type: ignore[union-attr]
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
            elif value is not None:
                raise SnapshotError(f"{where}: {prefix}{name} is {_kind(value)}, expected a tensor")
        pending.extend((f"{prefix}{name}.", child) for name, child in reversed(list(modules.items())) if child is not None)  # type: ignore[union-attr]
    raise SnapshotError(f"{where}: more than {_MOST_MODULES:,} modules inside one another; not a StyleGAN3")


# Reading


class _Sealed(type):
    """Classes that a pickle cannot change: its BUILD instruction may set attributes of anything it can name."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise SnapshotError(f"the snapshot tries to change {cls.__name__}.{name}")


class _PlainDict(dict, metaclass=_Sealed):
    """Stands in for dnnlib.EasyDict and OrderedDict."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Attributes of a dictionary are of no use here."""


class _Inert(metaclass=_Sealed):
    """Stands in for what is read and never used: numpy numbers, dtypes, devices. Takes any arguments and any state, and keeps nothing."""

    __slots__ = ()

    def __new__(cls, *_: object, **__: object) -> Self:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Nothing is kept."""


class _StoredModule(metaclass=_Sealed):
    """Stands in for a network or a layer: its attributes as a dictionary, not an object that does anything."""

    __slots__ = ("state",)
    state: dict[str, Any]

    def __init__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "state", state)

    def __setattr__(self, name: str, value: object) -> None:
        raise SnapshotError(f"the snapshot tries to change {name} of a network that was read already")


class _Call:
    """A function that a pickle may call and nothing else: it cannot be looked into or changed."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: object) -> None:
        raise SnapshotError(f"the snapshot tries to change a function's {name}")


def _stored_module(meta: Any) -> _StoredModule:
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
        raise SnapshotError(f"a persistent object without a class and a state: {_kind(meta)}")
    return _StoredModule(meta["state"])


def _storage(data: Any) -> Tensor:
    """The numbers of a tensor, [N]; `data` is a pickle of its own, read by torch's reader for weights only."""
    if not isinstance(data, bytes) or not data.startswith(_STORAGE_MAGIC):
        raise SnapshotError(f"a tensor's numbers are {_kind(data)} of an unknown format")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # TypedStorage is deprecated, says torch of what it has to return here.
        try:
            storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except AssertionError as error:
            raise SnapshotError(f"a tensor's numbers are damaged ({error})") from None
        if not isinstance(storage, torch.storage.TypedStorage):
            raise SnapshotError(f"a tensor's numbers are {_kind(storage)}, expected a storage")
        return torch.empty(0, dtype=storage.dtype).set_(storage.untyped())


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """A tensor of its own, cut from a storage; every index is checked first."""
    numbers = (offset, *(size if isinstance(size, tuple) else (None,)), *(stride if isinstance(stride, tuple) else (None,)))
    if not isinstance(storage, Tensor) or not all(type(number) is int and number >= 0 for number in numbers) or len(size) != len(stride):
        raise SnapshotError(f"a tensor of impossible shape: offset {offset!r}, size {size!r}, stride {stride!r}")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    # A stride of 0 would make a huge tensor of few numbers.
    if len(size) > 8 or torch.Size(size).numel() > len(storage) or (0 not in size and last >= len(storage)):
        raise SnapshotError(f"a tensor larger than its {len(storage):,} numbers: offset {offset}, size {size}, stride {stride}")
    return torch.as_strided(storage, size, stride, offset).clone()


_INERT = _Call(lambda *_: _Inert())
# Every name a snapshot may use, and what answers it. Nothing here imports, calls or evaluates what the file says.
_KNOWN: dict[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Call(_stored_module),
    ("dnnlib.util", "EasyDict"): _PlainDict,
    ("dnnlib", "EasyDict"): _PlainDict,
    ("collections", "OrderedDict"): _PlainDict,
    ("torch.storage", "_load_from_bytes"): _Call(_storage),
    ("torch._utils", "_rebuild_tensor"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(lambda tensor, *_: tensor),
    ("torch", "Size"): _Call(tuple),
    ("torch", "device"): _INERT,
    ("_codecs", "encode"): _Call(lambda text, encoding: text.encode("latin-1") if encoding == "latin1" else _Inert()),
    **{("torch", name): _Inert() for name in ("float16", "float32", "float64", "bfloat16", "int32", "int64", "uint8", "bool")},
    **{(module, "set"): _Call(set) for module in ("builtins", "__builtin__")},
    **{(f"numpy.{core}.multiarray", name): _INERT for core in ("core", "_core") for name in ("_reconstruct", "scalar")},
    **{("numpy", name): _INERT for name in ("ndarray", "dtype")},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise SnapshotError(
                f"it asks for {module}.{name}, which reading weights does not need; nothing was run. Take the snapshot from where it was published, "
                "or convert it where you trust it"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise SnapshotError(f"it refers to an object outside the file ({_kind(pid)})")


def _load(stream: io.BufferedIOBase | io.BufferedReader, path: Path) -> Any:
    try:
        return _Reader(stream).load()
    except SnapshotError as error:
        raise SnapshotError(f"{path}: {error}") from None
    except MemoryError:
        raise SnapshotError(f"{path}: claims more than fits into memory") from None
    # A damaged or hostile pickle can end in any of these; the reader builds nothing but names that are on its list, so there is nothing to undo.
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise SnapshotError(f"{path}: not a readable pickle ({type(error).__name__}: {' '.join(str(error).split())[:200]})") from None


def _kind(value: object) -> str:
    names = {dict: "a dictionary", list: "a list", tuple: "a tuple", str: "text", bytes: "bytes", type(None): "nothing"}
    return names.get(type(value), f"a {type(value).__name__.strip('_')}")


def _first(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(list(tensors)[:3]) or "none"


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
