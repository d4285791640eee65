"""The report on a model of titles: its bits by hand, its numbers beside baselines, and titles that try to break the page."""

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from stages.params import load_params, read_yaml
from stages.reporting import Reporter
from tests.training.words.toy_titles import grammar_titles, write_paper_texts
from training.fine_tuning.generation import Generation
from training.fine_tuning.model_folder import load_model, load_tokenizer, save_model
from training.metrics.text.ngram_model import CharacterNgram
from training.words.titles.report import Titler, TitlesReportConfig, judge, main
from training.words.word_tokenizers import CAUSAL, END, train_bpe

SMALL = TitlesReportConfig(
    free_titles=20,
    completed_titles=3,
    prompt_words=2,
    free=Generation("sample", top_p=0.8, max_new_tokens=40),
    completed=Generation("sample", top_p=0.8, max_new_tokens=30),
)
TITLES = grammar_titles(60)
EVIL = "Synthesis of <script>alert(1)</script> | pipes *and* [links](http://x)"


def make(data: Path, *, steps: int = 0, titles: list[str] = TITLES, licence: str = "CC-BY-4.0", abstract: str | None = None) -> Path:
    """Papers, and a GPT-2 that has learnt their titles for some steps."""
    write_paper_texts(data, titles, licence=licence, abstract=abstract)
    tokenizer = train_bpe(TITLES, 300, CAUSAL, template=f"{END} $A")
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 96}
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = GPT2LMHeadModel(GPT2Config(**sizes, **tokens))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    documents = [[*tokenizer(title)["input_ids"], tokenizer.eos_token_id] for title in titles]
    batch = tokenizer.pad({"input_ids": documents}, return_tensors="pt")
    for _ in range(steps):
        model(**batch, labels=batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    save_model(data / "title_gpt2", model.eval(), [tokenizer], "# A card\n")
    return data


@pytest.fixture(scope="module")
def learnt(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("learnt"), steps=90)


def test_bits_are_those_of_each_token_after_those_before_it_one_title_at_a_time(learnt):
    model = load_model(learnt / "title_gpt2", AutoModelForCausalLM)
    titler = Titler(model, load_tokenizer(learnt / "title_gpt2", model), seed=0)
    expected, tokens = 0.0, 0
    with torch.no_grad():
        for title in (*TITLES[:3], "x"):
            document = [0, *titler.tokenizer(title, add_special_tokens=False)["input_ids"], 0]
            logits = model(torch.tensor([document])).logits[0].log_softmax(-1)
            expected -= sum(float(logits[place, token]) for place, token in enumerate(document[1:])) / math.log(2)
            tokens += len(document) - 1
    assert titler.bits([*TITLES[:3], "x", "too long " * 90]) == (pytest.approx(expected, rel=1e-5), tokens, [*TITLES[:3], "x"])


def test_a_model_that_has_learnt_its_titles_ends_and_predicts_and_copies_them(learnt):
    report = judge(SMALL, learnt, Reporter())
    values = report.numbers.values
    assert values["model_bits_per_character"] < values["5gram_bits_per_character"] < 5
    assert values["model_gain"] == pytest.approx(1 - values["model_bits_per_character"] / values["5gram_bits_per_character"], rel=1e-4)
    assert values["model_ended_rate"] > 0.9
    assert values["model_exact_rate"] > 0.5
    assert values["real_exact_rate"] == 0
    assert report.checks[0].passed
    assert report.headline_names[0] == "model_bits_per_character"


def test_a_model_that_has_learnt_nothing_does_not_end_and_is_worse_than_the_5_gram(tmp_path):
    report = judge(SMALL, make(tmp_path), Reporter())
    assert not report.checks[0].passed
    assert report.numbers.values["model_gain"] < 0


def test_where_there_are_abstracts_a_5_gram_that_knows_them_too_stands_beside(tmp_path, learnt):
    told = judge(SMALL, make(tmp_path, abstract="Silk was heated under pressure. " * 9), Reporter()).numbers.values
    plain = CharacterNgram.fit(["ab"]).bits_per_character(["silk"])
    assert told["5gram_bits_per_character"] != told["5gram_abstracts_bits_per_character"] < plain
    assert "5gram_abstracts_bits_per_character" not in judge(SMALL, learnt, Reporter()).numbers.values


def test_titles_with_markup_are_shown_and_never_read_as_markup(tmp_path):
    data = make(tmp_path, titles=[*TITLES[:5], EVIL, *TITLES[5:11], "a", ""])
    text = judge(SMALL, data, Reporter()).markdown()
    assert "<script" not in text
    assert "&lt;script&gt;alert" in text
    none_long = judge(replace(SMALL, prompt_words=20), data, Reporter()).markdown()
    assert none_long.count("| Synthesis") == 0
    assert {line.count("|") for line in text.splitlines() if line.startswith("|") and "Synthesis" in line} == {5}


def test_the_stage_writes_the_same_bytes_again(learnt, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(
        "titles_report: {free_titles: 8, free: {strategy: sample, top_p: 0.8, max_new_tokens: 40}, completed_titles: 3, prompt_words: 2}\n"
    )
    assert main(["--data", str(learnt), "--params", str(params)]) == 0
    first = {path.name: path.read_bytes() for path in sorted((learnt / "titles_report").iterdir())}
    assert set(first) == {"headline.json", "metrics.json", "report.md", "titles.png"}
    assert json.loads(first["metrics.json"])["held_out_titles"] == 10
    judge(replace(SMALL, free_titles=8), learnt, Reporter()).write(tmp_path)
    assert {path.name: path.read_bytes() for path in sorted((tmp_path / "titles_report").iterdir())} == first


def test_papers_of_unknown_licence_leave_nothing_to_judge_and_the_message_says_so(tmp_path, capsys):
    data, params = make(tmp_path, licence="unknown"), tmp_path / "params.yaml"
    params.write_text("titles_report: {}\n")
    assert main(["--data", str(data), "--params", str(params)]) == 1
    assert "set allow_unknown_licence" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["params.yaml", "presets/demo.yaml", "presets/shared.yaml", "presets/paper.yaml"])
def test_the_section_of_each_preset_fits_and_names_every_parameter(project_root, file):
    load_params(project_root / file, "titles_report", TitlesReportConfig)
    assert set(read_yaml(project_root / file)["titles_report"]) == {field.name for field in fields(TitlesReportConfig)}
