import codecs
import io
import os
import pickle
import subprocess
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.bounded import bounded
from training.stylegan3.generator import load_generator
from training.stylegan3.nvidia_snapshots import Network, SnapshotError, convert_snapshot, infer_config, main, open_generator, read_snapshot

from .snapshot_files import EasyDict, Persistent, _reconstruct_persistent_obj, write_snapshot
from .tiny import TINIEST, TINIEST_R, make_discriminator, make_generator


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("config", [TINIEST, TINIEST_R, replace(TINIEST, label_dim=3, channels=1, discriminator_map_depth=2)])
def test_a_snapshot_becomes_a_folder_that_draws_the_same_pictures(tmp_path, nvidia_names, config, protocol):
    generator, discriminator = write_snapshot(tmp_path / "in.pkl", config, protocol=protocol)
    found = convert_snapshot(tmp_path / "in.pkl", tmp_path / "out")
    assert found == config
    converted = load_generator(tmp_path / "out")
    z, c = torch.randn(2, config.z_dim), torch.eye(3)[:2] if config.label_dim else None
    assert torch.equal(converted(z, c), generator(z, c))
    from safetensors.torch import load_file

    trained = make_generator(config, seed=1)
    for file, network in (("discriminator", discriminator), ("generator_trained", trained)):
        weights = load_file(tmp_path / f"out/{file}.safetensors")
        assert all(torch.equal(weights[name], tensor) for name, tensor in network.state_dict().items())
    assert torch.equal(open_generator(tmp_path / "in.pkl")(z, c), generator(z, c))


def test_the_discriminators_group_is_kept(tmp_path, nvidia_names):
    discriminator = Persistent(make_discriminator(), arguments={"epilogue_kwargs": EasyDict(mbstd_group_size=8)})
    write_snapshot(tmp_path / "in.pkl", D=discriminator)
    assert convert_snapshot(tmp_path / "in.pkl", tmp_path / "out") == replace(TINIEST, mbstd_group=8)


def test_without_an_average_the_generator_itself_draws(tmp_path, nvidia_names):
    (tmp_path / "in.pkl").write_bytes(pickle.dumps({"G": Persistent(make_generator()), "G_ema": None}))
    convert_snapshot(tmp_path / "in.pkl", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.json", "generator.safetensors"]


def test_constructor_arguments_are_taken_over(tmp_path, nvidia_names):
    arguments = {"channel_base": 64, "channel_max": 8, "magnitude_ema_beta": 0.5, "conv_clamp": 128}
    write_snapshot(tmp_path / "in.pkl", arguments=arguments)
    assert read_snapshot(tmp_path / "in.pkl")["G_ema"].arguments == arguments
    assert convert_snapshot(tmp_path / "in.pkl", tmp_path / "out") == replace(TINIEST, magnitude_ema_beta=0.5, conv_clamp=128.0)


def test_reading_draws_no_random_numbers(tmp_path, nvidia_names):
    write_snapshot(tmp_path / "in.pkl")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    convert_snapshot(tmp_path / "in.pkl", tmp_path / "out")
    assert torch.equal(torch.get_rng_state(), before)


class Hostile:
    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch PWNED",)),
        (subprocess.check_call, (["touch", "PWNED"],)),
        (eval, ("open('PWNED', 'w')",)),
        (exec, ("open('PWNED', 'w')",)),
        (open, ("PWNED", "w")),
        (getattr, ("torch", "load")),
        (__import__, ("antigravity",)),
        (torch.load, ("PWNED",)),
        (pickle.loads, (b"",)),
    ],
)
@pytest.mark.parametrize("place", ["top", "inside"])
def test_a_pickle_that_wants_more_than_weights_is_refused_and_nothing_runs(tmp_path, nvidia_names, monkeypatch, function, arguments, place):
    monkeypatch.chdir(tmp_path)
    hostile = Hostile(function, *arguments)
    tree = {"G_ema": Persistent(make_generator(), extra={"note": hostile})} if place == "inside" else hostile
    (tmp_path / "in.pkl").write_bytes(pickle.dumps(tree))
    with pytest.raises(SnapshotError, match="which reading weights does not need; nothing was run"):
        read_snapshot(tmp_path / "in.pkl")
    assert not (tmp_path / "PWNED").exists()


def test_the_pickle_inside_a_tensor_is_not_trusted_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inner = io.BytesIO()
    torch.save(Hostile(os.system, "touch PWNED"), inner, _use_new_zipfile_serialization=False)
    (tmp_path / "in.pkl").write_bytes(pickle.dumps({"G_ema": Hostile(torch.storage._load_from_bytes, inner.getvalue())}))
    with pytest.raises(SnapshotError, match=r"posix\.system, .* nothing was run"):
        read_snapshot(tmp_path / "in.pkl")
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    ("place", "value"), [(145, b"\x00"), (-40, b"\x05"), (-24, b"\x03"), (-17, b""), (209, b"J\xff\xff\xff\x7f"), (178, b"\x7f")]
)
def test_a_storage_that_is_not_as_torch_writes_it_is_refused(tmp_path, place, value):
    good = torch.storage.TypedStorage(wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True).__reduce__()[1][0]
    place %= len(good)
    bad = good[:place] + value + good[place + max(1, len(value)) :]
    (tmp_path / "in.pkl").write_bytes(pickle.dumps(Hostile(torch.storage._load_from_bytes, bad)))
    with pytest.raises(SnapshotError, match=r"numbers are damaged|asks for torch|not a readable pickle"):
        read_snapshot(tmp_path / "in.pkl")


@pytest.mark.parametrize("data", [b"PK\x03\x04" + bytes(50), b"", "text", 5])
def test_storages_of_other_formats_are_refused(tmp_path, data):
    (tmp_path / "in.pkl").write_bytes(pickle.dumps(Hostile(torch.storage._load_from_bytes, data)))
    with pytest.raises(SnapshotError, match="unknown format"):
        read_snapshot(tmp_path / "in.pkl")


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (10**12,), (0,)), (0, (5,), (1,)), (3, (2,), (1,)), (-1, (2,), (1,)), (0, (2, 2), (1,)), (0, (2,), (-1,)), (0, [2], [1]), (0.0, (2,), (1,))],
)
def test_a_tensor_must_fit_its_numbers(tmp_path, offset, size, stride):
    class Tensor:
        def __reduce__(self):
            numbers = torch.storage.TypedStorage(wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True)
            return torch._utils._rebuild_tensor_v2, (numbers, offset, size, stride, False, OrderedDict())

    (tmp_path / "in.pkl").write_bytes(pickle.dumps(Tensor()))
    with pytest.raises(SnapshotError, match="a tensor (of impossible shape|larger than)"):
        read_snapshot(tmp_path / "in.pkl")


@pytest.mark.parametrize(
    "target", [("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("dnnlib.util", "EasyDict"), ("torch", "device")]
)
def test_a_pickle_cannot_change_the_stand_ins(tmp_path, target):
    module, name = target
    state = b"N}(X\x08\x00\x00\x00__call__Nu\x86"  # (None, {"__call__": None})
    (tmp_path / "in.pkl").write_bytes(b"\x80\x04" + f"c{module}\n{name}\n".encode() + state + b"b.")
    with pytest.raises(SnapshotError, match="tries to change|holds a"):
        read_snapshot(tmp_path / "in.pkl")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable pickle"),
        (b"garbage", "not a readable pickle"),
        (pickle.dumps({"G_ema": 1})[:-3], "not a readable pickle"),
        (pickle.dumps([1, 2]), "holds a list, expected a dictionary with G_ema"),
        (pickle.dumps({"E": 1}), "holds neither G_ema, G nor D; found E"),
        (b"\x80\x04\x8c\x01xQ.", "refers to an object outside the file"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path, content, words):
    (tmp_path / "in.pkl").write_bytes(content)
    with pytest.raises(SnapshotError, match=words):
        read_snapshot(tmp_path / "in.pkl")


class Module:
    """A network as a snapshot has it, of parts that need not fit together."""

    def __init__(self, parameters=(), modules=()):
        self.parameters, self.modules = dict(parameters), dict(modules)

    def __reduce__(self):
        state = EasyDict(_parameters=self.parameters, _buffers={}, _modules=self.modules)
        return _reconstruct_persistent_obj, (EasyDict(type="class", state=state),)


def nested(depth, name="a"):
    module = Module()
    for _ in range(depth):
        module = Module(modules={name: module, f"{name}b": module})
    return module


def with_layers(*names, kernel=3, **more):
    weights = {f"synthesis.L{name}.weight": torch.zeros(8, 8, kernel, kernel) for name in names}
    rest = {"synthesis.input.affine.weight": torch.zeros(4, 8), "mapping.fc0.weight": torch.zeros(8, 8)}
    return Module(parameters={**weights, **rest, **more})


MEGABYTE = torch.zeros(2**18)
BYTES = bytes(2**20)
HOSTILE = {
    "modules in two modules each, sixty levels deep": (lambda: nested(60), "inside one another without end"),
    "modules with endless names": (lambda: nested(60, "n" * 10_000), "inside one another without end"),
    "a megabyte by ten thousand names": (lambda: Module({f"w{i}": MEGABYTE for i in range(9000)}), "more numbers than the file holds"),
    "parts without end": (lambda: Module({f"w{i}": MEGABYTE for i in range(20_000)}), "more than 10,000 tensors"),
    "a megabyte of numbers made again and again": (
        lambda: [Hostile(torch.storage._load_from_bytes, STORED) for _ in range(4000)],
        "makes more of its numbers than it holds",
    ),
    "a megabyte of text made bytes again and again": (
        lambda: [Hostile(codecs.encode, TEXT, "latin1") for _ in range(4000)],
        "makes more of its numbers than it holds",
    ),
    "a dictionary copied again and again": (lambda: [Hostile(OrderedDict, MANY) for _ in range(1000)], "a dictionary made of another"),
    "a layer of a very high number": (lambda: with_layers("0_16_8", "999999_16_8"), "numbered from 0 to at most"),
    "pictures without end": (lambda: with_layers("0_36_8", "1_524288_3"), "of pictures up to 2048 px"),
    "channels without end": (lambda: with_layers("0_20_900000", "1_16_900000", "2_16_3"), "layers numbered from 0"),
    "weights of other shapes": (lambda: Module({**make_generator().state_dict(), "mapping.fc1.bias": MEGABYTE}), "its tensors are not those"),
    "a weight too few": (lambda: Module(list(make_generator().state_dict().items())[1:]), "its tensors are not those"),
    "a width that no weight has": (lambda: with_layers("0_20_8", "1_16_3", **{"mapping.fc0.weight": torch.zeros(8, 2**18)[:0]}), "G_ema: "),
    "a weight of other dimensions": (lambda: with_layers("0_20_8", "1_16_3", **{"mapping.fc0.weight": torch.zeros(3)}), "expected 2"),
}
MANY = [(str(i), i) for i in range(1000)]
TEXT = "x" * 2**20
STORED = torch.storage.TypedStorage(wrap_storage=MEGABYTE.untyped_storage(), dtype=torch.float32, _internal=True).__reduce__()[1][0]


@pytest.mark.parametrize(("make", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_snapshot_is_refused_soon_and_with_little_memory(tmp_path, nvidia_names, make, words):
    (tmp_path / "in.pkl").write_bytes(pickle.dumps({"G_ema": make()}))
    with bounded(seconds=10, mib=1000), pytest.raises(SnapshotError, match=words):
        convert_snapshot(tmp_path / "in.pkl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_snapshot_is_refused_in_words_or_read(tmp_path, nvidia_names):
    config = replace(TINIEST, cmax=2, z_dim=2, w_dim=2)
    good = pickle.dumps({"G_ema": Persistent(make_generator(config))})
    path = tmp_path / "in.pkl"
    path.write_bytes(good)
    assert infer_config(read_snapshot(path)["G_ema"], where="whole") == config
    random, refusals = np.random.default_rng(0), []
    for _ in range(150):
        damaged = bytearray(good)
        for place in random.integers(len(good), size=3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_snapshot(path)
        except SnapshotError as error:
            refusals.append(str(error))
    assert len(refusals) > 50
    assert all(words.startswith(str(path)) for words in refusals)


def test_networks_of_other_shapes_are_refused(tmp_path, nvidia_names):
    with pytest.raises(SnapshotError, match="not a StyleGAN3 generator"):
        infer_config(Network({"synthesis.b4.const": torch.zeros(1)}, {}), where="x.pkl: G")
    state = dict(make_generator().state_dict())
    renamed = {name.replace("L1_", "L1_9"): tensor for name, tensor in state.items()}
    with pytest.raises(SnapshotError, match="no configuration of StyleGAN3 has these layers"):
        infer_config(Network(renamed, {}), where="x.pkl: G")


def test_a_diverged_network_is_refused(tmp_path, nvidia_names):
    generator = make_generator()
    with torch.no_grad():
        generator.mapping.fc0.weight[0, 0] = float("nan")
    (tmp_path / "in.pkl").write_bytes(pickle.dumps({"G_ema": Persistent(generator)}))
    with pytest.raises(SnapshotError, match=r"mapping\.fc0\.weight holds numbers that are not finite"):
        convert_snapshot(tmp_path / "in.pkl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_line_converts_or_says_why_not(tmp_path, nvidia_names, capsys):
    write_snapshot(tmp_path / "in.pkl")
    assert main([str(tmp_path / "in.pkl"), str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "discriminator.safetensors",
        "generator.safetensors",
        "generator_trained.safetensors",
    ]
    assert "stylegan3-t, 16 px" in capsys.readouterr().out
    assert main([str(tmp_path / "missing.pkl"), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("figment: ")
