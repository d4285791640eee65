"""The stage title_gpt2: it learns, continues to the same bytes after any death, and plain transformers loads what it made."""

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from formats.text_tables import read_paper_texts
from stages.artifact_id import content_id
from stages.reporting import Reporter
from tests import warm
from tests.training.harness import Harness
from tests.training.words.toy_titles import grammar_titles, write_paper_texts
from training.fine_tuning.generation import Generation, tokenize, write
from training.fine_tuning.model_folder import load_model, save_model
from training.fine_tuning.packing import causal_loss
from training.loop.devices import Devices
from training.words.titles.config import TitleOptions
from training.words.titles.train import JOB
from training.words.word_tokenizers import END, train_bpe

ROOT = Path(__file__).resolve().parents[4]
PARAMS = """
title_gpt2:
  total_samples: 3000
  warmup_samples: 300
  batch_size: 10
  learning_rate: 2.0e-2
  optimizer: muon
  weight_decay: 0.1
  dropout: 0.1
  ema_half_life_samples: 200
  early_stopping_evaluations: 3
  vocabulary_size: 400
  maximum_tokens: 48
  width: 16
  layers: 1
  heads: 2
  shown: 4
  evaluate_every_samples: 800
  checkpoint_every_samples: 500
  report_every_samples: 400
  seed: 3
"""
LATE = ("transformers:GPT2LMHeadModel", "transformers:AutoTokenizer")
HARNESS = Harness("title_gpt2", "training.words.titles.train", ("data/paper_texts",), imports=LATE)
project, run_here, start, output, series = HARNESS.project, HARNESS.run_here, HARNESS.start, HARNESS.output, HARNESS.series


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_paper_texts(folder / "data", grammar_titles(120))
    (folder / "params.yaml").write_text(PARAMS)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory) -> Path:
    folder = project(prepared, tmp_path_factory.mktemp("uninterrupted") / "p")
    assert run_here(folder, track="jsonl") == 0
    return folder


def test_the_output_has_what_the_stage_promises(uninterrupted):
    made = output(uninterrupted)
    assert [name for name in made if not name.startswith("plots/curves/")] == [
        "README.md", "config.json", "data_ids.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "training_summary.json",
    ]  # fmt: skip
    assert made["plots/curves/validation_bits_per_character.csv"].startswith(b"tokens,validation_bits_per_character\n")
    papers = content_id(uninterrupted / "data/paper_texts")
    assert json.loads(made["data_ids.json"]) == {"paper_texts": papers}
    card = made["README.md"].decode()
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n") and papers in card and "## Limits" in card
    summary = json.loads(made["training_summary.json"])
    assert summary["samples_seen"] == 3000 and summary["finished"] is True and summary["examples"]["train"] == 100
    assert summary["last_values"]["validation_loss"] < 0.8 * math.log(400)


def test_samples_of_every_evaluation_are_kept_with_the_run(uninterrupted):
    (training,) = (uninterrupted / ".figment/trainings/title_gpt2").iterdir()
    shown = sorted(training.glob("samples/*/titles.md"))
    # An evaluation each time that a multiple of 800 is passed, and one at the end.
    assert [int(path.parent.name) // 800 for path in shown] == [1, 2, 3, 3] and shown[-1].parent.name == f"{3000:012d}"
    real = next(paper.title for paper in read_paper_texts(uninterrupted / "data/paper_texts", split="valid"))
    assert " ".join(real.split()[:4]) in shown[0].read_text().replace("\\", "")
    (journal,) = (uninterrupted / ".figment/tracking/title_gpt2").glob("*/*.jsonl")
    assert journal.read_text().count("titles.md") >= len(shown)


def test_killed_once_it_ends_with_the_same_bytes_and_the_same_series(prepared, uninterrupted, tmp_path, capsys):
    folder = project(prepared, tmp_path / "p")
    HARNESS.kill(folder, 21)
    assert run_here(folder, track="jsonl") == 0
    assert "continuing after" in capsys.readouterr().err
    assert output(folder) == output(uninterrupted)
    assert series(folder) == series(uninterrupted)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bytes(prepared, uninterrupted, tmp_path):
    folder = project(prepared, tmp_path / "p")
    # Before the first checkpoint, after an evaluation, twice in the same step.
    for step in (3, 20, 2, 2):
        HARNESS.kill(folder, step)
    assert start(folder).returncode == 0
    assert output(folder) == output(uninterrupted)
    assert series(folder) == series(uninterrupted)


FRESH = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
assert "training" not in sys.modules
folder = sys.argv[1]
tokens = AutoTokenizer.from_pretrained(folder)("Synthesis of silk proteins", return_tensors="pt")
logits = AutoModelForCausalLM.from_pretrained(folder)(**tokens).logits
text = pipeline("text-generation", folder, device="cpu")("Synthesis of", max_new_tokens=5, do_sample=False)[0]["generated_text"]
print(json.dumps([tokens["input_ids"].tolist(), logits.tolist(), text]))
"""


def test_plain_transformers_loads_it_in_a_fresh_process(uninterrupted, tmp_path):
    folder = uninterrupted / "data/title_gpt2"
    run = warm.plain(FRESH, folder, cwd=tmp_path)
    ids, logits, text = json.loads(run.stdout.splitlines()[-1])
    model, tokenizer = load_model(folder, AutoModelForCausalLM), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        assert torch.allclose(model(torch.tensor(ids)).logits, torch.tensor(logits), atol=1e-5)
    # A prompt begins as the titles did that were learnt.
    assert ids == [tokenizer("Synthesis of silk proteins")["input_ids"]] and ids[0][0] == tokenizer.bos_token_id
    assert text.startswith("Synthesis of")


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("widht=3", 2, "did you mean 'width'"),
        ("width=15", 2, "width 15 is not a multiple of heads 2"),
        ("maximum_tokens=8 vocabulary_size=258", 1, "no titles left to learn"),
        ("batch_size=500", 1, "100 examples to learn from are fewer than one batch of 500"),
        ("vocabulary_size=100", 1, "vocabulary_size must be at least 258"),
        ("start_from=no-such-owner/model", 1, "HF_HUB_OFFLINE=1"),
    ],
)
def test_bad_parameters_are_one_line(prepared, tmp_path, capsys, override, code, message):
    folder = project(prepared, tmp_path / "p")
    HARNESS.check_refused(folder, capsys, code, message, *override.split())


def test_papers_of_unknown_licence_are_left_out_unless_let_in(prepared, tmp_path, capsys):
    folder = project(prepared, tmp_path / "p")
    (folder / "data/paper_texts").unlink()
    write_paper_texts(folder / "data", grammar_titles(30), licence="unknown")
    assert run_here(folder) == 1
    assert "no titles left to learn" in capsys.readouterr().err
    assert run_here(folder, "allow_unknown_licence=true", "total_samples=100") == 0


def test_missing_papers_are_one_line(prepared, tmp_path, capsys):
    folder = project(prepared, tmp_path / "p")
    (folder / "data/paper_texts").unlink()
    assert run_here(folder) == 1
    assert "figment materialize paper_texts" in capsys.readouterr().err


def opened(folder: Path, **options):
    torch.manual_seed(0)
    return JOB.open(folder / "data", TitleOptions(**options), Devices(torch.device("cpu")), Reporter())


def test_repeated_and_too_long_titles_are_set_aside_and_test_titles_never_seen(tmp_path):
    titles = grammar_titles(40)
    write_paper_texts(tmp_path / "data", [*titles, titles[0], "", "x" * 10_000_000, "word " * 300])
    task = opened(tmp_path, vocabulary_size=300, maximum_tokens=64, width=8, heads=1, layers=1).trainable.task
    counts = {"repeated": 1, "empty_or_endless": 2, "too_long": 1, "unknown_licence": 0}
    assert {name: task.counts[name] for name in counts} == counts
    assert set(task.train.texts) <= set(titles) and max(task.train.lengths()) <= 64
    for text, document in zip(task.train.texts, task.train.documents, strict=True):
        assert document[0] == document[-1] == 0 and task.savers[0].decode(document[1:-1]) == text


def test_abstracts_of_the_training_split_are_learnt_in_pieces_that_no_title_begins_like(tmp_path):
    write_paper_texts(tmp_path / "data", grammar_titles(40), abstract="Silk was heated. " * 30)
    common = {"vocabulary_size": 300, "width": 8, "heads": 1, "layers": 1, "maximum_tokens": 64}
    plain, more = (
        opened(tmp_path, abstracts=abstracts, title_copies=copies, **common).trainable.task for abstracts, copies in ((False, 1), (True, 3))
    )
    titles, pieces = more.train.documents[: 3 * len(plain.train)], more.train.documents[3 * len(plain.train) :]
    assert [titles.count(document) for document in titles] == [3] * len(titles)
    assert pieces and all(0 not in piece[:-1] and len(piece) <= max(map(len, titles)) for piece in pieces)
    # Nothing between the pieces is lost.
    tokenizer = more.savers[0]
    assert tokenizer.decode([token for piece in pieces for token in piece], skip_special_tokens=True) == "Silk was heated. " * 30
    assert set(more.valid.texts) == set(plain.valid.texts)


def test_the_length_is_that_of_the_data_at_the_quantile(prepared):
    common = {"vocabulary_size": 300, "width": 8, "heads": 1, "layers": 1}
    everything, most = (opened(prepared, length_quantile=quantile, **common).trainable.task for quantile in (1.0, 0.5))
    assert everything.counts["too_long"] == 0 < most.counts["too_long"]
    lengths = sorted(everything.train.lengths())
    assert max(most.train.lengths()) == lengths[math.ceil(0.5 * len(lengths)) - 1]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """As the hub's gpt2: one special token, which begins and ends, and none to pad with."""
    folder = tmp_path_factory.mktemp("hub") / "gpt2"
    folder.mkdir()
    tokenizer = train_bpe(grammar_titles(50), 290, {"bos_token": END, "eos_token": END, "unk_token": END})
    torch.manual_seed(7)
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    save_model(folder, GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes, bos_token_id=0, eos_token_id=0)), [tokenizer], "")
    return folder


def test_from_a_pretrained_model_the_weights_are_its_own_and_the_pad_is_new(prepared, pretrained):
    before = load_model(pretrained, AutoModelForCausalLM)
    task = opened(prepared, start_from=str(pretrained), dropout=0.3).trainable.task
    model, tokenizer = task.model, task.savers[0]
    rows = len(before.get_input_embeddings().weight)
    assert tokenizer.pad_token == "<|pad|>" and tokenizer.pad_token_id == rows != tokenizer.eos_token_id
    assert len(model.get_input_embeddings().weight) == rows + 1 == model.config.vocab_size
    assert model.config.pad_token_id == rows == model.generation_config.pad_token_id and model.config.attn_pdrop == 0.3
    for name, tensor in before.state_dict().items():
        assert torch.equal(model.state_dict()[name][: len(tensor)], tensor), name


def test_a_folder_to_start_from_is_an_input_whose_content_decides(prepared, pretrained, tmp_path):
    folder = project(prepared, tmp_path / "p")
    small = ("total_samples=200", f"start_from={pretrained}")
    assert run_here(folder, *small) == 0
    ids = json.loads((folder / "data/title_gpt2/data_ids.json").read_text())
    assert ids == {"paper_texts": content_id(prepared / "data/paper_texts"), "start_from": content_id(pretrained)}
    # The same path with other weights is another training, not the end of this one.
    (keys,) = [{path.name for path in (folder / ".figment/checkpoints/title_gpt2").iterdir()}]
    changed = load_model(pretrained, AutoModelForCausalLM)
    with torch.no_grad():
        changed.get_input_embeddings().weight.add_(0.1)
    changed.save_pretrained(pretrained)
    assert run_here(folder, *small) == 0
    assert len({path.name for path in (folder / ".figment/checkpoints/title_gpt2").iterdir()} - keys) == 1


def test_early_stopping_ends_a_training_that_is_then_finished(prepared, tmp_path, capsys):
    folder = project(prepared, tmp_path / "p")
    hopeless = ("learning_rate=0.5", "optimizer=adamw", "early_stopping_evaluations=1", "evaluate_every_samples=300", "ema_half_life_samples=0")
    assert run_here(folder, *hopeless) == 0
    summary = json.loads((folder / "data/title_gpt2/training_summary.json").read_text())
    assert summary["finished"] is True and summary["samples_seen"] < 3000 and "has not fallen below" in summary["stopped"]
    assert "stopped after" in capsys.readouterr().err
    # Asked again it writes the same model and trains no step.
    made = output(folder)
    assert run_here(folder, *hopeless) == 0
    assert output(folder) == made
    best = load_model(folder / "data/title_gpt2", AutoModelForCausalLM)
    task = opened(folder, vocabulary_size=400, maximum_tokens=48, width=16, layers=1, heads=2, batch_size=10, seed=3).trainable.task
    with torch.no_grad():
        total, number = causal_loss(best, task.valid.batch(range(len(task.valid)), torch.Generator()))
    # What is told is that of the weights that are there.
    assert float(total / number) == pytest.approx(summary["last_values"]["validation_loss"], rel=1e-4)
    assert summary["last_values"]["validation_bits_per_token"] == pytest.approx(float(total / number) / math.log(2), rel=1e-4)


@pytest.mark.slow
def test_sixty_four_titles_can_be_learned_by_heart(tmp_path):
    write_paper_texts(tmp_path / "data", grammar_titles(64), valid_every=1000)
    options = {"total_samples": 120_000, "warmup_samples": 2000, "batch_size": 32, "learning_rate": 3e-3, "dropout": 0.0, "optimizer": "muon"}
    training = opened(tmp_path, **options, vocabulary_size=400, maximum_tokens=64, width=64, layers=2, heads=4)
    tuner = training.trainable
    while tuner.samples_seen < tuner.config.total_samples:
        assert not tuner.step().skipped
    model, titles = tuner.final_model(), tuner.task.train
    batch = titles.batch(range(len(titles)), torch.Generator())
    with torch.no_grad():
        total, number = causal_loss(model, batch)
    # What is left is which of 64 titles it is.
    assert float(total / number) <= 1.15 * math.log(64) * len(titles) / int(number)
    tokenizer = tuner.task.savers[0]
    written = write(
        model, tokenizer, tokenize(tokenizer, [""] * 20, most_tokens=1, start=0).inputs, Generation("sample", top_p=0.8, max_new_tokens=30), seed=0
    )
    assert {text.text for (text,) in written} <= set(titles.texts) and all(text.ended for (text,) in written)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(prepared, tmp_path):
    same = ("dropout=0", "ema_half_life_samples=0", "optimizer=adamw", "learning_rate=1e-3")
    outputs = HARNESS.run_alone_and_together(prepared, tmp_path, *same)
    one, two = (load_model(folder, AutoModelForCausalLM).state_dict() for folder in outputs)
    for name, tensor in one.items():
        assert (two[name] - tensor).norm() <= 1e-4 * max(1.0, float(tensor.norm())), name
