"""The original program's checkpoints: read safely, recognised by names and shapes, drawn with as they were; and what is none."""

import pickle
import zipfile

import pytest
import torch

from bench import plain_cyclegan
from training.cyclegan import CycleGANError, load_generators
from training.cyclegan.discriminator import make_discriminators
from training.cyclegan.generator import FILES
from training.cyclegan.junyanz import import_checkpoints, main, read_state


def kinds(channels_a: int = 3):
    """By name: how a generator (from, to) and a discriminator (of) look in the original, and what our configuration should say."""
    return {
        "nine": (lambda a, b: plain_cyclegan.residual(a, b, ngf=2), lambda c: plain_cyclegan.patch_judge(c, ndf=2), {"net_g": "resnet_9blocks"}),
        "six": (
            lambda a, b: plain_cyclegan.residual(a, b, ngf=2, blocks=6),
            lambda c: plain_cyclegan.patch_judge(c, ndf=2, layers=4),
            {"net_g": "resnet_6blocks", "n_layers_d": 4},
        ),
        "dropout": (
            lambda a, b: plain_cyclegan.residual(a, b, ngf=2, blocks=6, dropout=True),
            lambda c: plain_cyclegan.patch_judge(c, ndf=3, layers=2),
            {"net_g": "resnet_6blocks", "n_layers_d": 2, "ndf": 3},
        ),
        "unet": (lambda a, b: plain_cyclegan.unet(a, b, ngf=2, levels=7), lambda c: plain_cyclegan.patch_judge(c, ndf=2), {"net_g": "unet_128"}),
    }


def write_checkpoints(folder, kind: str, *, channels_a: int = 3, epoch: str = "latest", change=lambda state: state) -> dict[str, torch.nn.Module]:
    torch.manual_seed(1)
    g, d, _ = kinds()[kind]
    networks = {"G_A": g(channels_a, 3), "G_B": g(3, channels_a), "D_A": d(3), "D_B": d(channels_a)}
    folder.mkdir()
    for name, network in networks.items():
        torch.save(change(network.state_dict()), folder / f"{epoch}_net_{name}.pth")
    return networks


def with_old_statistics(state):
    """As torch before 0.4 saved instance normalisation."""
    blocks = {name.rpartition(".")[0] for name in state}
    return {
        **state,
        **{f"{name}.running_mean": torch.zeros(2) for name in blocks},
        **{f"{name}.num_batches_tracked": torch.tensor(3) for name in blocks},
    }


@pytest.mark.parametrize("kind", kinds())
def test_a_checkpoint_draws_what_it_drew(tmp_path, kind):
    theirs = write_checkpoints(tmp_path / "theirs", kind)
    config = import_checkpoints(tmp_path / "theirs", tmp_path / "ours", resolution=128)
    assert config.resolution == 128 and {name: getattr(config, name) for name in kinds()[kind][2]} == kinds()[kind][2]
    both = load_generators(tmp_path / "ours")
    pictures = torch.rand(2, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        for name, ours in (("G_A", both.a_to_b), ("G_B", both.b_to_a)):
            torch.testing.assert_close(ours(pictures), theirs[name].eval()(pictures), atol=1e-6, rtol=0)
        for name, judge in make_discriminators(config).items():
            FILES.read_weights(tmp_path / f"ours/{name}.safetensors", judge)
            torch.testing.assert_close(judge(pictures), theirs[name](pictures), atol=1e-6, rtol=0)


@pytest.mark.parametrize("change", [with_old_statistics, lambda state: {f"module.{name}": value for name, value in state.items()}, dict])
def test_old_statistics_and_the_names_of_wrappers_do_not_matter(tmp_path, change):
    theirs = write_checkpoints(tmp_path / "theirs", "six", change=change)
    import_checkpoints(tmp_path / "theirs", tmp_path / "ours")
    ours = load_generators(tmp_path / "ours").a_to_b.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in theirs["G_A"].state_dict().items())


def test_grey_and_colour_keep_their_numbers_of_channels(tmp_path):
    theirs = write_checkpoints(tmp_path / "theirs", "six", channels_a=1)
    config = import_checkpoints(tmp_path / "theirs", tmp_path / "ours")
    assert (config.channels_a, config.channels_b) == (1, 3)
    pictures = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(load_generators(tmp_path / "ours").a_to_b(pictures), theirs["G_A"](pictures).detach(), atol=1e-6, rtol=0)


def test_generators_alone_are_a_model(tmp_path):
    write_checkpoints(tmp_path / "theirs", "six")
    for name in ("D_A", "D_B"):
        (tmp_path / f"theirs/latest_net_{name}.pth").unlink()
    import_checkpoints(tmp_path / "theirs", tmp_path / "ours")
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {"config.json", "G_A.safetensors", "G_B.safetensors"}


def test_it_is_a_program(tmp_path, capsys):
    write_checkpoints(tmp_path / "theirs", "six")
    assert main([str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 0 and "'net_g': 'resnet_6blocks'" in capsys.readouterr().out
    assert main([str(tmp_path / "theirs"), str(tmp_path / "other"), "--epoch", "3"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("figment: ") and "no 3_net_G_A.pth and no 3_net_G_B.pth; there are the epochs latest" in said
    assert not (tmp_path / "other").exists()


# What is none of them


class Trap:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def batch_normalised(state):
    return {**state, "model.2.weight": torch.ones(2), "model.2.bias": torch.ones(2), "model.2.running_mean": torch.ones(2)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (batch_normalised, "has batch normalisation"),
        (lambda state: {}, "holds dict; expected the state dict"),
        (lambda state: {"weights": state}, "holds dict; expected the state dict"),
        (lambda state: list(state.values()), "holds list; expected"),
        (lambda state: {"conv.weight": torch.ones(2, 2)}, "no generator that is known"),
        (lambda state: {name: value for name, value in state.items() if name != "model.4.bias"}, "not the weights of a resnet_6blocks"),
        (lambda state: {**state, "model.1.weight": torch.zeros(1).expand(10**6, 3, 7, 7)}, "claims more numbers than it has bytes"),
        (lambda state: {**state, "model.1.weight": torch.zeros(2000, 3, 7, 7)}, "not the weights of a resnet_6blocks"),
    ],
)
def test_other_networks_and_damaged_ones_are_refused_with_a_reason(tmp_path, change, message):
    write_checkpoints(tmp_path / "theirs", "six", change=change)
    with pytest.raises(CycleGANError, match=message):
        import_checkpoints(tmp_path / "theirs", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_generators_of_two_trainings_are_refused(tmp_path):
    write_checkpoints(tmp_path / "theirs", "six")
    write_checkpoints(tmp_path / "others", "nine")
    (tmp_path / "others/latest_net_G_B.pth").replace(tmp_path / "theirs/latest_net_G_B.pth")
    with pytest.raises(CycleGANError, match=r"latest_net_G_B\.pth: .*resnet_9blocks.*both must be of one training"):
        import_checkpoints(tmp_path / "theirs", tmp_path / "ours")


def test_nothing_in_a_file_is_run(tmp_path):
    path, sprung = tmp_path / "latest_net_G_A.pth", tmp_path / "sprung"
    torch.save({"model.1.weight": Trap(sprung)}, path)
    with pytest.raises(CycleGANError, match="cannot be read safely"):
        read_state(path)
    path.write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    with pytest.raises(CycleGANError, match="cannot be read safely"):
        read_state(path)
    assert not sprung.exists()


def test_a_file_that_is_cut_short_or_something_else_is_said_to_be(tmp_path):
    write_checkpoints(tmp_path / "theirs", "six")
    path = tmp_path / "theirs/latest_net_G_A.pth"
    content = path.read_bytes()
    for bad in (b"", b"<html>", content[: len(content) // 2], content[:-10]):
        path.write_bytes(bad)
        with pytest.raises(CycleGANError, match=r"latest_net_G_A\.pth: cannot be read safely"):
            read_state(path)


def test_a_packed_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "latest_net_G_A.pth"
    torch.save({"model.1.weight": torch.zeros(2**20)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for part in plain.infolist():
            packed.writestr(part.filename, plain.read(part))
    assert path.stat().st_size < 2**16
    with pytest.raises(CycleGANError, match="its parts are larger than the file"):
        read_state(path)
