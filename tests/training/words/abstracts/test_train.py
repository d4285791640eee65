"""The stages abstract_t5 and title_t5 and their reports: they learn, say what they read, and plain transformers loads what they made."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from stages.reporting import Reporter
from tests.training.words.abstracts.toy_papers import Paper, toy_pair, toy_papers, write_papers
from training.fine_tuning.generation import Generation, generate
from training.fine_tuning.model_folder import load_model, load_tokenizer
from training.metrics.text.rouge import rouge
from training.words.abstracts import report as report_module
from training.words.abstracts import train as train_module
from training.words.abstracts.config import GENERATIONS, T5Options, T5ReportOptions
from training.words.abstracts.pairs import Pairs, encode_pairs

ROOT = Path(__file__).resolve().parents[4]
PARAMS = """
abstract_t5: &t5
  {vocabulary_size: 400, d_model: 48, layers: 1, heads: 4, d_ff: 96, dropout: 0.0, title_tokens: 32, abstract_tokens: 64, prefix: "write: ",
   total_samples: 16000, warmup_samples: 500, batch_size: 16, learning_rate: 5.0e-3, evaluate_every_samples: 8000, checkpoint_every_samples: 8000,
   report_every_samples: 4000}
title_t5: *t5
abstract_report: &report {most_pairs: 12, written_pairs: 6, bootstrap_rounds: 20}
title_t5_report: *report
"""


def run(program: Any, stage: str, folder: Path, *more: str) -> int:
    places = ["--params", str(folder / "params.yaml"), "--data", str(folder / "data")]
    state = ["--state", str(folder / ".figment")] if program is train_module else []
    return program.main([stage, *places, *state, *more])


def project(folder: Path, papers: Sequence[tuple[str, Paper]]) -> Path:
    write_papers(folder / "data/paper_texts", papers)
    (folder / "params.yaml").write_text(PARAMS)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which both models were trained and judged."""
    folder = project(tmp_path_factory.mktemp("project"), toy_papers(80, 12, 12))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIGMENT_TRACK", "jsonl")
        patch.chdir(folder)
        for program, stage in (
            (train_module, "abstract_t5"),
            (train_module, "title_t5"),
            (report_module, "abstract_report"),
            (report_module, "title_t5_report"),
        ):
            assert run(program, stage, folder) == 0
    return folder


def test_it_learns_and_counts_what_it_learned_from(trained: Path):
    summary = json.loads((trained / "data/abstract_t5/training_summary.json").read_text())
    assert summary["examples"] == {"train": 80, "valid": 12, "cut_sources": 0, "cut_targets": 0}
    assert summary["last_values"]["validation_loss"] < 0.6 * 6  # a uniform guess among 400 tokens costs 6
    assert summary["last_values"]["validation_reading_gain"] > 0.05
    assert {"validation_nll_per_char", "validation_shuffled_nll_per_char"} <= summary["last_values"].keys()


@pytest.mark.parametrize(("stage", "tokens"), [("abstract_t5", (32, 64)), ("title_t5", (64, 32))])
def test_a_model_knows_how_it_wants_to_be_used(trained: Path, stage: str, tokens: tuple[int, int]):
    model = AutoModelForSeq2SeqLM.from_pretrained(trained / "data" / stage)
    assert (model.config.source_tokens, model.config.target_tokens, model.config.prefix) == (*tokens, "write: ")
    assert model.generation_config.max_new_tokens == tokens[1]
    assert model.generation_config.no_repeat_ngram_size == (2 if stage == "abstract_t5" else 0)
    assert json.loads((trained / "data" / stage / "data_ids.json").read_text()).keys() == {"paper_texts"}
    assert "repeat them word for word" in (trained / "data" / stage / "README.md").read_text()


def test_samples_of_an_evaluation_stand_beside_what_is_real(trained: Path):
    shown = sorted((trained / ".figment/trainings/abstract_t5").rglob("samples.md"))
    assert len(shown) == 2
    rows = shown[-1].read_text().splitlines()[2:]
    assert len(rows) == 4
    assert str(toy_pair(80)[0]) in rows[0] and str(toy_pair(80)[1])[:20] in rows[0]


def test_the_report_puts_every_number_beside_its_control(trained: Path):
    folder = trained / "data/abstract_report"
    metrics, headline = (json.loads((folder / f"{name}.json").read_text()) for name in ("metrics", "headline"))
    assert headline.keys() == {"held_out", "written", "shuffled"}
    for name in ("rouge1", "rouge2", "rougeL", "bleu", "meteor_exact_stem", "keyword_recall"):
        assert 0 <= metrics[f"shuffled_{name}"] <= 1 and 0 <= metrics[f"written_{name}"] <= 1
    assert metrics["held_out_reading_gain"] == pytest.approx(
        metrics["held_out_shuffled_nll_per_char"] / metrics["held_out_nll_per_char"] - 1, abs=1e-4
    )
    assert metrics["held_out_nll_per_char_n"] == 12 and metrics["written_copied_n"] == 6
    assert (folder / "reading.png").stat().st_size > 1000
    assert (
        "three" not in (trained / "data/title_t5_report/report.md").read_text()
        and (trained / "data/title_t5_report/report.md").read_text().count(" / ") >= 2
    )


def test_titles_come_three_at_a_time_as_the_seed_draws_them():
    found = GENERATIONS["title_t5"]
    assert (found.strategy, found.top_k, found.top_p, found.returns, found.max_new_tokens) == ("sample", 5, 0.95, 3, 128)
    assert (GENERATIONS["abstract_t5"].no_repeat_ngram, T5Options().abstract_tokens) == (2, 512)


def test_a_model_that_is_given_foreign_sources_fails_the_check(trained: Path, monkeypatch: pytest.MonkeyPatch):
    checks = {
        check.name: check for check in report_module.judge("abstract_report", T5ReportOptions(written_pairs=2), trained / "data", Reporter()).checks
    }
    assert checks["reads_its_input"].passed
    # The same model, blind: every source is the same text.
    real = report_module.encode_pairs
    monkeypatch.setattr(report_module, "encode_pairs", lambda tokenizer, pairs, *a, **k: real(tokenizer, pairs._replace(sources=["x"] * 12), *a, **k))
    blind = report_module.judge("abstract_report", T5ReportOptions(written_pairs=2), trained / "data", Reporter()).checks[0]
    assert not blind.passed and blind.facts["reading_gain"] == pytest.approx(0, abs=1e-6)


def test_foreign_text_stays_text_in_the_report(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch):
    hostile = ("<script>alert(1)</script> | `x` \u202eRTL עברית", "# heading\n<img src=x> | a | b **bold** \u202e")
    folder = project(tmp_path / "project", [*toy_papers(4, 0, 0), ("test", hostile), ("test", toy_pair(1))])
    (folder / "data/abstract_t5").symlink_to(trained / "data/abstract_t5")
    report = report_module.judge("abstract_report", T5ReportOptions(), folder / "data", Reporter())
    assert "<script" not in report.text and "<img" not in report.text and "**bold**" not in report.text
    assert all(line.count(" | ") == 2 for line in report.text.splitlines() if "script" in line)


def test_no_held_out_pair_trains_all_the_same_but_cannot_be_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FIGMENT_TRACK", "jsonl")
    monkeypatch.chdir(tmp_path)
    folder = project(tmp_path, toy_papers(16, 0, 0))
    assert run(train_module, "title_t5", folder, "--set", "total_samples=400") == 0
    assert run(report_module, "title_t5_report", folder) == 1
    assert "title_t5 needs papers of split test" in capsys.readouterr().err


def test_a_training_opened_again_has_the_same_tokens_and_weights(trained: Path):
    options = T5Options(vocabulary_size=400, d_model=16, layers=1, heads=2, d_ff=16)
    tasks = []
    for _ in range(2):
        torch.manual_seed(0)
        tasks.append(train_module.open_task("abstract_t5", trained / "data", options, Reporter()))
    assert (
        tasks[0].train.batch(range(5), torch.Generator())["labels"].tolist() == tasks[1].train.batch(range(5), torch.Generator())["labels"].tolist()
    )
    assert all(torch.equal(left, right) for left, right in zip(*(task.model.parameters() for task in tasks), strict=True))


def test_what_the_stages_do_not_know_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        run(train_module, "titles", trained)
    assert run(report_module, "abstract_report", trained, "--set", "generation={strategy: beam, beams: 2, returns: 3}") == 2
    assert "returns must be at most 2" in capsys.readouterr().err


def _learned_by_heart(folder: Path, pairs: Sequence[Paper], monkeypatch: pytest.MonkeyPatch, *more: str) -> list[str]:
    """Train on the pairs alone; what greedy search then writes for their titles, here and in a process that knows transformers only."""
    monkeypatch.setenv("FIGMENT_TRACK", "jsonl")
    project(folder, [("train", pair) for pair in pairs])
    assert run(train_module, "abstract_t5", folder, "--set", "abstract_tokens=512", "--set", "batch_size=8", *more) == 0
    model = load_model(folder / "data/abstract_t5", AutoModelForSeq2SeqLM)
    tokenizer = load_tokenizer(folder / "data/abstract_t5", model)
    titles = [title for title, _ in pairs]
    inputs = encode_pairs(tokenizer, Pairs(titles, titles, {}), model.config).inputs(len(pairs))
    ours = [texts[0] for texts in generate(model, tokenizer, inputs, Generation(max_new_tokens=512), seed=0)]
    plain = (
        "import json, sys; from transformers import AutoModelForSeq2SeqLM, AutoTokenizer\n"
        "folder, titles = sys.argv[1], json.loads(sys.argv[2])\n"
        "model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)\n"
        "inputs = tokenizer([model.config.prefix + title for title in titles], return_tensors='pt', padding=True)\n"
        "written = model.generate(**inputs, max_new_tokens=512, no_repeat_ngram_size=0, do_sample=False)\n"
        "print(json.dumps(tokenizer.batch_decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)))"
    )
    command = [sys.executable, "-c", plain, str(folder / "data/abstract_t5"), json.dumps(titles)]
    there = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, env={"HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    )
    assert json.loads(there.stdout) == ours
    return ours


@pytest.mark.slow
def test_toy_pairs_are_learned_by_heart_and_transformers_alone_writes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pairs = [toy_pair(number) for number in range(16)]
    written = _learned_by_heart(tmp_path, pairs, monkeypatch, "--set", "total_samples=40000")
    assert rouge(written, [str(abstract) for _, abstract in pairs])["rougeL"] >= 0.9


@pytest.mark.slow
@pytest.mark.shared_data
def test_thirty_two_real_pairs_are_learned_by_heart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those with the shortest abstracts, for time."""
    papers = map(json.loads, (ROOT.parent / "shared/data/journals/scitldr/train.jsonl").read_text().splitlines())
    pairs = sorted(((paper["title"], " ".join(paper["source"])) for paper in papers), key=lambda pair: (len(pair[1]), pair))[:32]
    sizes = ["d_model=128", "layers=2", "d_ff=256", "vocabulary_size=1500", "batch_size=4", "total_samples=150000", "warmup_samples=6000"]
    words = [word for size in [*sizes, "optimizer=muon", "learning_rate=5.0e-3"] for word in ("--set", size)]
    written = _learned_by_heart(tmp_path, pairs, monkeypatch, *words)
    assert rouge(written, [abstract for _, abstract in pairs])["rougeL"] >= 0.9
