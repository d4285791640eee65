"""The report on both generators: against sentences of which the numbers are known, and the stage as a whole."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from formats.sentence_grammar import imaginary_sentences
from formats.tables import table_from_rows, write_table
from formats.text_tables import SENTENCES
from tests.training.words.text_gan.toy_grammar import PARAMS, sentences, tokenizer, write_data
from training.metrics.intervals import value_of
from training.words.text_gan import report
from training.words.text_gan.report import QUALITY, REVERSE, Jury, TextReportConfig


@pytest.fixture(scope="module")
def jury(tmp_path_factory) -> Jury:
    return Jury(write_data(tmp_path_factory.mktemp("jury") / "data", every=5), TextReportConfig())


def judged(jury: Jury, texts: list[str]) -> dict[str, float]:
    return {name: value_of(value) for name, value in jury.judge(texts).items()}


def test_real_sentences_are_better_than_shuffled_ones_and_more_diverse_than_one(jury):
    real = judged(jury, jury.real["valid"])
    shuffled = judged(jury, [" ".join(reversed(text.split())) for text in jury.real["valid"]])
    one = judged(jury, jury.real["valid"][:1] * 200)
    assert real["bleu4"] > 1.5 * shuffled["bleu4"] and real[QUALITY] < shuffled[QUALITY] / 2 and real[REVERSE] < shuffled[REVERSE] / 2
    assert one["self_bleu4"] == pytest.approx(1) and one["distinct2"] < 0.1 < real["distinct2"] * 10 and one[REVERSE] > 2 * real[REVERSE]
    assert real["verbatim"] == 0 and real["repetition2"] < 0.2


def test_training_sentences_written_again_are_counted_as_copies(jury):
    long = [text for text in jury.real["train"] if len(text.split()) >= 7]
    assert judged(jury, long[:50])["verbatim"] == 0
    jury.real["train"] = [*jury.real["train"], "one two three four five six seven eight"]
    assert judged(jury, ["zero one two three four five six seven eight", *long[:3]])["verbatim"] == 0.25


def test_as_many_are_compared_as_there_are_real_ones(jury):
    few = judged(jury, jury.real["valid"])
    assert judged(jury, jury.real["valid"] + sentences()) == few


def test_nothing_written_is_no_error(jury):
    found = judged(jury, [""] * 20)
    assert found["verbatim"] == 0 and found["bleu4"] != found["bleu4"]


def test_sentences_of_the_projects_grammar_are_judged_by_it(tmp_path):
    texts = [text.lower().replace(",", " ,").replace(".", " .") for text in imaginary_sentences(60, seed=0)]
    words = tuple(dict.fromkeys(word for text in texts for word in text.split()))
    rows = [
        {
            "id": str(i),
            "serial": i,
            "text": text,
            "words": len(text.split()),
            "split": ("train", "valid", "test")[i % 3],
            "source": "s",
            "licence": "l",
        }
        for i, text in enumerate(texts)
    ]
    (tmp_path / "sentences").mkdir()
    write_table(tmp_path / "sentences/sentences-00000.parquet", table_from_rows(SENTENCES, rows))
    (tmp_path / "vocabulary").mkdir()
    tokenizer(words).save(str(tmp_path / "vocabulary/tokenizer.json"))
    jury = Jury(tmp_path, TextReportConfig())
    assert jury.has_grammar
    assert judged(jury, [*texts[:3], "the the crystal"])["grammatical"] == 0.75


def test_the_stage_shows_both_side_by_side(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("FIGMENT_TRACK", "none")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished / "data", tmp_path / "data")
    (tmp_path / "params.yaml").write_text(PARAMS + "text_report: {temperatures: [1.0, 0.0, 0.5], samples: 40}\n")
    common = ["--params", str(tmp_path / "params.yaml"), "--data", str(tmp_path / "data")]
    assert report.main(common) == 0
    folder = tmp_path / "data/text_report"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(files) == {"metrics.json", "headline.json", "report.md", "curves.png", "samples.parquet"}
    metrics, headline = json.loads(files["metrics.json"]), json.loads(files["headline.json"])
    assert {f"{model}_t{t}_bleu{n}" for model in ("mle", "gan") for t in ("0", "0.5", "1") for n in (2, 3, 4, 5)} <= set(metrics)
    assert headline["gan_t1"].keys() == headline["mle_t1"].keys() and "real" in headline
    assert pq.read_table(folder / "samples.parquet").num_rows == 2 * 3 * 40
    page = files["report.md"].decode()
    assert "| mle_t0.5 |" in page and "| gan_t0.5 |" in page and "| real |" in page and "curves.png" in page and "samples.parquet" in page
    # Judged again, the same bytes.
    assert report.main(common) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_temperatures_and_splits_that_cannot_be_compared_are_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"hold 1.0"):
        TextReportConfig(temperatures=(0.5,))
    write_data(tmp_path / "data", every=4000)
    Path(tmp_path / "params.yaml").write_text("text_report: {}\n")
    assert report.main(["--params", str(tmp_path / "params.yaml"), "--data", str(tmp_path / "data")]) == 1
    assert "fewer than two sentences of split" in capsys.readouterr().err
