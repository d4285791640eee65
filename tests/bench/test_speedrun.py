"""The speedrun trains to a target, stops there, and its numbers end in a record that the next ones are compared with; times are never asserted."""

import json
from dataclasses import replace

import numpy
import pytest

pytest.importorskip("scipy", reason="scipy is not installed (extras: gan, chem)")
pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from scipy.stats import ttest_ind

from bench import speedrun
from bench.kitchen import Kitchen
from formats.image_shards import ImageShards, shard_name, write_shard
from formats.png import encode_png
from training.gans.grids import save_picture, tile

RACES = speedrun.read_races()
STATED = speedrun.Race("loss <= 1", "held-out loss", "half of what it starts with", "none")


def run(cpu_s: float, *, change: str = "", seed: int = 0, reached: bool = True, goal: str = STATED.goal, processor: str = "this one") -> speedrun.Run:
    return speedrun.Run("model", change, seed, goal, {}, cpu_s, reached, [[cpu_s, 0.9]], "2026-11-30", processor, "" if reached else "it broke")


def test_the_difference_of_two_means_has_welch_s_interval():
    of, beside = [10.0, 12.0, 11.5], [20.0, 26.0, 21.0, 22.5]
    expected = ttest_ind(of, beside, equal_var=False).confidence_interval(0.95)
    found = speedrun.difference(of, beside)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    # A single run scatters like the others, and is one more draw of the same: the interval of a prediction.
    alone = speedrun.difference([20.0], of)
    half = 4.302652729911275 * numpy.std(of, ddof=1) * numpy.sqrt(1 + 1 / 3)
    assert alone.high - alone.value == pytest.approx(half)
    assert numpy.isnan(speedrun.difference([1.0], [2.0]).low)
    assert speedrun.difference([2.0, 2.0], [1.0, 1.0]).low == 1.0


@pytest.mark.parametrize(
    ("without", "word"),
    [
        ([run(90), run(92), run(88)], "keep"),
        ([run(20), run(22)], "reject"),
        ([run(42), run(47)], "undecided"),
        ([run(9, reached=False), run(40)], "keep"),
    ],
)
def test_a_trick_is_kept_where_its_absence_costs_seconds_or_runs_fail(without, word):
    with_it = [run(41), run(43), run(45)]
    assert speedrun.verdict(with_it, without).startswith(f"**{word}**")


def test_new_runs_are_better_worse_or_not_told_apart_and_never_compared_across_goals():
    record = [run(41), run(43), run(45)]
    assert ": better, -22" in speedrun.beside_record([run(20), run(22), run(21)], record)
    assert ": worse, " in speedrun.beside_record([run(80), run(82)], record)
    assert ": not told apart, " in speedrun.beside_record([run(44), run(42)], record)
    assert "on another processor, this one" in speedrun.beside_record([run(44, processor="that one")], record)
    assert "not compared, the record's goal is loss <= 1" in speedrun.beside_record([run(44, goal="loss <= 2")], record)
    assert "no record yet" in speedrun.beside_record([run(44)], [])


def test_a_target_is_met_by_all_of_its_numbers_together():
    stated = replace(STATED, goal="distinct_2 >= 1, perplexity <= 8e0")
    assert [stated.is_met(values) for values in ([1.0, 8.0], [0.9, 7.0], [2.0, 8.1])] == [True, False, False]
    with pytest.raises(ValueError, match="'loss < 1' is no goal; expected"):
        _ = replace(STATED, goal="loss < 1").bounds


def test_every_model_of_the_graph_runs_and_only_with_parameters_that_its_section_has():
    kitchen = Kitchen(speedrun.ROOT)
    modules = {name: speedrun.ROOT / f"{stage['cmd'].split()[2].replace('.', '/')}.py" for name, stage in kitchen.stages.items() if "cmd" in stage}
    texts = {name: path.read_text() for name, path in modules.items() if path.is_file()}
    assert set(RACES) == {name for name, text in texts.items() if "run_job(" in text or "run_fine_tuning(" in text} - {"stylegan3_pages"}
    for name, stated in RACES.items():
        for asked in stated.changes.values():
            assert set(asked) <= set(kitchen.sections[name]), name
        assert not stated.pictures or stated.pictures in kitchen.inputs(name)


def test_what_is_learnt_from_and_what_is_held_out_of_a_set_of_pictures_are_its_parts(tmp_path):
    pictures = numpy.random.default_rng(0).integers(0, 255, (12, 3, 16, 16), dtype=numpy.uint8)
    kitchen = Kitchen(tmp_path)
    kitchen.sections = {**kitchen.sections, "pggan_pages": {"resolution": 16, "dataset_size": 128}}
    (kitchen.data / "page_dataset@128").mkdir(parents=True)
    write_shard(kitchen.data / "page_dataset@128" / shard_name(0), [(at, encode_png(one.transpose(1, 2, 0))) for at, one in enumerate(pictures)])

    held_out = speedrun.lay_out(kitchen, "pggan_pages", RACES["pggan_pages"], tmp_path / "view")
    learnt = ImageShards(tmp_path / "view/page_dataset@128").load_all()
    assert numpy.array_equal(held_out, pictures[::5])
    assert numpy.array_equal(learnt, numpy.stack([one for at, one in enumerate(pictures) if at % 5]))


def test_a_snapshot_is_judged_by_the_pictures_of_its_sheet(tmp_path):
    random = numpy.random.default_rng(0)
    real = random.integers(200, 255, (32, 3, 16, 16), dtype=numpy.uint8)
    judge = speedrun._judge(replace(STATED, goal="fd_rand0 <= 1"), real)
    for images, shown in ((0, random.integers(0, 255, real.shape, dtype=numpy.uint8)), (100, real)):
        save_picture(tmp_path / f"fakes{images}.png", tile(shown, 8))
        (tmp_path / f"fakes{images}.json").write_text(json.dumps({"images": images, "file": f"fakes{images}.png"}))
    assert judge({"images": 100, "loss": 1.0}, tmp_path) == {}
    assert judge({"images": 100, "spread": 1.0}, tmp_path)["fd_rand0"] == pytest.approx(0, abs=1e-3)
    assert judge({"images": 0, "spread": 1.0}, tmp_path)["fd_rand0"] > 1


def test_a_small_model_trains_to_its_target_and_becomes_the_record(tmp_path, monkeypatch, capsys):
    page, record = tmp_path / "SPEEDRUN.md", tmp_path / "record.json"
    page.write_text(f"# Before\n{speedrun.BEGIN}\nold\n{speedrun.END}\nafter\n")
    monkeypatch.setattr(speedrun, "RECORD", record)
    assert speedrun.main(["--json", str(tmp_path / "runs.json"), "--write", str(page)]) == 0

    (found,) = speedrun.read_runs(record)
    assert found.reached and found.curve[-1][1] <= 120 < found.curve[0][1]
    assert 0 < found.curve[0][0] < found.curve[-1][0] == found.cpu_s
    assert page.read_text().startswith("# Before\n") and page.read_text().endswith("\nafter\n") and "old" not in page.read_text()
    assert f"text_mle, as it is, seed 0: {found.cpu_s:.1f} CPU-s" in page.read_text()
    assert (tmp_path / "images/speedrun.png").stat().st_size > 1_000

    # The same runs are not made again, and are no news beside themselves.
    assert speedrun.main(["--json", str(tmp_path / "runs.json")]) == 0
    assert "text_mle: not told apart, +0.0 CPU-s (one run each)" in capsys.readouterr().out
