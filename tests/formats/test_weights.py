"""A model's files give the same model back, and the same bytes for the same weights; anything else is named."""

import json
from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from safetensors.torch import load_file

from formats.weights import ModelFiles, write_weights


@dataclass(frozen=True)
class Shape:
    width: int = 3
    names: tuple[str, ...] = ("a", "b")

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError("width must be at least 1")


class OursError(Exception):
    """What is wrong with a folder."""


FILES = ModelFiles("ours", "Ours", "ours_stage", Shape, OursError)


def network(width: int = 3) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(width, 2), torch.nn.BatchNorm1d(2))


def test_weights_and_buffers_come_back_and_equal_ones_are_equal_bytes(tmp_path):
    ours, theirs = network(), network()
    write_weights(tmp_path / "a", ours)
    FILES.read_weights(tmp_path / "a", theirs)
    write_weights(tmp_path / "b", theirs)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert {"1.running_mean", "1.num_batches_tracked"} <= set(load_file(tmp_path / "a"))


def test_lower_precision_is_stored_as_float32(tmp_path):
    write_weights(tmp_path / "a", network().half())
    assert {tensor.dtype for tensor in load_file(tmp_path / "a").values()} == {torch.float32}


def test_the_configuration_comes_back(tmp_path):
    FILES.write_config(tmp_path, Shape(5, ("x",)))
    assert FILES.read_config(tmp_path) == Shape(5, ("x",))
    assert json.loads((tmp_path / "config.json").read_text()) == {"model_type": "ours", "width": 5, "names": ["x"]}


def test_what_is_said_to_other_readers_is_written_and_not_read(tmp_path):
    files = ModelFiles("ours", "Ours", "ours_stage", Shape, OursError, beside={"auto_map": {"AutoModel": "ours.Model"}})
    files.write_config(tmp_path, Shape(5))
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == {"AutoModel": "ours.Model"}
    assert files.read_config(tmp_path) == Shape(5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file; expected a trained Ours: figment materialize ours_stage"),
        ("{", "not JSON"),
        ("[]", "not the configuration of a Ours"),
        ('{"model_type": "bert"}', "model_type must be 'ours'"),
        ('{"model_type": "ours", "depth": 1}', "unknown key 'depth'; it was written by another version"),
        ('{"model_type": "ours", "width": 0}', "width must be at least 1; it was written by another version"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_named(tmp_path, text, words):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(OursError, match=f"config.json: .*{words}"):
        FILES.read_config(tmp_path)


@pytest.mark.parametrize("damage", ["cut short", "of another shape", "not there"])
def test_weights_that_do_not_belong_are_named(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    if damage != "not there":
        write_weights(path, network(4))
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(OursError, match=r"(?s)model\.safetensors: not the weights of the config\.json beside it .*make the model again"):
        FILES.read_weights(path, network())
