"""Fakes of any generator: shards survive a kill, other settings begin anew, and impossible ones are refused."""

from dataclasses import replace
from pathlib import Path

import numpy
import pytest

from formats.image_shards import ImageShards
from stages.params import ParamsError, build_config
from stages.reporting import Reporter
from training.gans import sample
from training.gans.sample import FakesConfig, draw_files, make_fakes

CONFIG = FakesConfig(seeds="0-6,10", psi=(0.2, 1.1), images_per_shard=3, gallery=(4, 2))


def draw(seeds, psi):
    """Even grey, lighter for higher seeds."""
    yield from ((seed, numpy.full((3, 8, 8), 10 * seed + round(10 * psi), numpy.uint8)) for seed in seeds)


def make(folder: Path, config: FakesConfig = CONFIG, draw=draw) -> dict[str, bytes]:
    model = folder / "data/model"
    model.mkdir(parents=True, exist_ok=True)
    (model / "weights").write_text("w")
    places = {"model": model, "data": folder / "data", "state": folder / ".figment"}
    make_fakes("fakes", draw, config, **places, module="training.gans.sample", reporter=Reporter())
    fakes = folder / "data/fakes"
    return {path.relative_to(fakes).as_posix(): path.read_bytes() for path in sorted(fakes.rglob("*")) if path.is_file()}


def test_the_last_shard_takes_what_is_left(tmp_path):
    make(tmp_path)
    fakes = ImageShards(tmp_path / "data/fakes/psi0.2")
    assert fakes.names == [f"00000/img{seed:08d}.png" for seed in (*range(7), 10)]
    assert fakes.images(range(8))[:, 0, 0, 0].tolist() == [10 * seed + 2 for seed in (*range(7), 10)]


def test_killed_it_goes_on_with_the_next_shard(tmp_path, capsys):
    whole, drawn = make(tmp_path / "whole"), []

    def draw_and_die(seeds, psi):
        for seed, picture in draw(seeds, psi):
            drawn.append(seed)
            if len(drawn) == 8:
                raise KeyboardInterrupt
            yield seed, picture

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "cut", draw=draw_and_die)
    assert not (tmp_path / "cut/data/fakes").exists()
    # Two shards of three were whole; the two pictures of the third are drawn again.
    assert make(tmp_path / "cut", draw=draw_and_die) == whole
    assert "2 of 6 shards were finished before" in capsys.readouterr().err
    assert len(drawn) == 8 + 16 - 6


def test_other_settings_begin_anew(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(sample, "_index", lambda shards, psis, config: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(tmp_path)
    make(tmp_path, replace(CONFIG, batch_size=7))
    assert "finished before" not in capsys.readouterr().err


def test_by_hand_each_seed_is_a_file(tmp_path):
    draw_files(draw, [0, 4], 1.0, tmp_path / "out", Reporter())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["seed0000.png", "seed0004.png"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeds": "5-1"}, "write 1-5"),
        ({"psi": []}, "psi must be a list"),
        ({"psi": [1.0, 1.0]}, "names a truncation twice"),
        ({"images_per_shard": 0}, "images_per_shard must be at least 1"),
        ({"gallery": [3]}, r"gallery must be \[columns, rows\]"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ParamsError, match=message):
        build_config(FakesConfig, values, where="params.yaml: fakes")
