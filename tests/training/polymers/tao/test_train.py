"""The stages polytao and polytao_samples: they learn, continue to the same bytes, and plain transformers writes the same molecules."""

import json
import os
from dataclasses import fields
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from rdkit import Chem
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from stages.params import ParamsError, build_config, read_yaml
from stages.reporting import SilentReporter
from tests import warm
from tests.training.harness import Harness, places
from tests.training.polymers.toy_molecules import write_molecules
from training.fine_tuning.model_folder import load_model
from training.polymers import smiles_tokenizer
from training.polymers.conditions import MoleculeModelError
from training.polymers.decoding import SamplingSettings
from training.polymers.origin import read_origin
from training.polymers.sampling import SamplesConfig
from training.polymers.tao.config import PolyTAOConfig
from training.polymers.tao.prompts import PromptForm
from training.polymers.tao.sample import main as sample_main
from training.polymers.tao.sample import open_polytao, sample_polytao
from training.polymers.tao.tokenizer import build_tokenizer
from training.polymers.tao.train import open_task

PARAMS = """
smiles_tokenizer: {read: [molecules], vocabulary_size: null}
polytao:
  {properties: [length, rings], prompt_style: STYLE, maximum_tokens: 40, condition_dropout: 0.2, d_model: 32, layers: 1, heads: 2, d_ff: 64,
   dropout: 0.0, total_samples: TOTAL, warmup_samples: 100, batch_size: 20, optimizer: muon, learning_rate: 1.0e-2, evaluate_every_samples: 400,
   checkpoint_every_samples: 400, report_every_samples: 200, evaluate_at_most: 16, written_prompts: 8, seed: 3}
polytao_samples: {unconditional: 6, conditional: 9, temperatures: [1.0, 0.0], batch_size: 4}
"""
INPUTS = ("data/molecules", "data/smiles_tokenizer")
HARNESS = Harness("polytao", "training.polymers.tao.train", INPUTS, imports=("transformers:T5ForConditionalGeneration",))


def project(folder: Path, style: str, total: int = 6000) -> Path:
    write_molecules(folder / "data", number=180)
    (folder / "params.yaml").write_text(PARAMS.replace("STYLE", style).replace("TOTAL", str(total)))
    assert smiles_tokenizer.main(places(folder)) == 0
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model that has learned to heed its prompts, in tokens, and its samples."""
    return made(project(tmp_path_factory.mktemp("tokens"), "tokens", 4000), samples=True)


@pytest.fixture(scope="module")
def in_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model that has hardly learned, of prompts in text."""
    return made(project(tmp_path_factory.mktemp("text"), "text", 600), samples=False)


def made(folder: Path, *, samples: bool) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIGMENT_TRACK", "jsonl")
        patch.chdir(folder)
        assert HARNESS.run_here(folder) == 0
        assert not samples or sample_main(places(folder)) == 0
    return folder


def greedy(folder: Path, *requests: dict[str, float], side_by_side: int = 8) -> list[str]:
    sampler = open_polytao(folder / "data/polytao", torch.device("cpu")).sampler
    return [molecule.smiles for molecule in sampler(requests, SamplingSettings(0, batch_size=side_by_side))]


def test_it_learns_and_says_what_from(trained):
    folder = trained / "data/polytao"
    summary = json.loads((folder / "training_summary.json").read_text())
    assert summary["molecules"] == {"train": 108, "valid": 36} and summary["samples_seen"] == 4000
    assert summary["set_aside"] == {split: {"out_of_vocabulary": 0, "too_long": 0} for split in ("train", "valid")}
    assert summary["parameters"] == sum(weight.numel() for weight in T5ForConditionalGeneration.from_pretrained(folder).parameters())
    values = summary["last_values"]
    assert values["validation_loss"] < 1.6 and values["validation_token_accuracy"] > 0.5 and 0 <= values["validation_exact_match"] <= 1
    origin = read_origin(folder)
    assert origin.split_column == "split_random" and list(origin.data_ids) == ["molecules"]
    shown = next((trained / ".figment/trainings/polytao").rglob("samples.md")).read_text().splitlines()
    assert shown[0].split("|")[1].strip() == "prompt" and len(shown) == 10


def test_it_heeds_what_it_is_asked(trained):
    sampler = open_polytao(trained / "data/polytao", torch.device("cpu")).sampler
    short, long = (list(sampler([{"length": length}] * 90, SamplingSettings(batch_size=90))) for length in (7.0, 16.0))
    assert sum(len(molecule.smiles) for molecule in long) > 1.15 * sum(len(molecule.smiles) for molecule in short)


def test_the_stage_writes_free_molecules_and_those_asked_for(trained):
    rows = pq.read_table(trained / "data/polytao_samples/samples.parquet").to_pylist()
    modes = [(row["mode"], row["temperature"]) for row in rows]
    assert modes == [(mode, t) for t in (1.0, 0.0) for mode, number in (("unconditional", 6), ("conditional", 9)) for _ in range(number)]
    free = [row["smiles"] for row in rows if row["mode"] == "unconditional"]
    assert len(set(free[:6])) > 1 and len(set(free[6:])) == 1
    # What only prompts are made of is never written, be it ever so likely.
    assert not any(character in "".join(free) for character in "<>, ")


@pytest.mark.parametrize("project_of", ["trained", "in_text"])
def test_molecules_do_not_depend_on_what_is_written_beside_them(project_of, request):
    sampler = open_polytao(request.getfixturevalue(project_of) / "data/polytao", torch.device("cpu")).sampler
    requests = [{"length": 8.0 + row, "rings": row % 2} if row % 3 else {} for row in range(6)]
    one, many = (list(sampler(requests, SamplingSettings(0.9, 12, 0.95, size, seed=5))) for size in (1, 6))
    assert one == many
    assert list(sampler(requests, SamplingSettings(0.9, 12, 0.95, 6, seed=6))) != many
    # The likeliest token alone is what greedy search takes.
    assert list(sampler(requests, SamplingSettings(1.0, top_k=1))) == list(sampler(requests, SamplingSettings(0)))


def test_guided_molecules_can_be_read_and_do_not_depend_on_their_batch(trained):
    sampler = open_polytao(trained / "data/polytao", torch.device("cpu")).sampler
    requests = [{"length": 8.0 + row} for row in range(12)]
    one, many = (list(sampler(requests, SamplingSettings(1.5, batch_size=size, guided=True))) for size in (5, 12))
    ended = [molecule.smiles for molecule in many if molecule.finished]
    assert one == many and len(ended) > 6 and all(Chem.MolFromSmiles(smiles, sanitize=False) is not None for smiles in ended)


def test_a_tokenizer_that_cuts_atoms_cannot_be_guided(trained):
    form = PromptForm.of(load_model(trained / "data/polytao", T5ForConditionalGeneration).config)
    characters = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=characters, unk_token="<unk>")
    with pytest.raises(
        MoleculeModelError, match=r"(PreTrainedTokenizerFast|TokenizersBackend) cuts C\[N\+\]\(Cl\)Br elsewhere; train PolyTAO from scratch"
    ):
        next(sample_polytao(None, tokenizer, form, [{}], SamplingSettings(guided=True)))


def test_plain_transformers_in_another_process_writes_the_same(trained, in_text, tmp_path):
    asked = [{"length": 8, "rings": 0}, {"length": 14, "rings": 1}, {"rings": 1}, {}]
    prompts = {in_text: ["8,0", "14,1", ",1", ""], trained: ["<length:8><rings:0>", "<length:14><rings:1>", "<rings:1>", ""]}
    plain = (
        "import json, sys; from transformers import AutoTokenizer, T5ForConditionalGeneration\n"
        "for folder, prompts in json.loads(sys.argv[1]).items():\n"
        "    model, tokenizer = T5ForConditionalGeneration.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)\n"
        "    written = [model.generate(**tokenizer(prompt, return_tensors='pt'))[0] for prompt in prompts]\n"
        "    print(json.dumps(tokenizer.batch_decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)))"
    )
    asked_there = json.dumps({str(folder / "data/polytao"): texts for folder, texts in prompts.items()})
    there = warm.plain(plain, asked_there, cwd=tmp_path)
    assert [json.loads(line) for line in there.stdout.splitlines()] == [greedy(folder, *asked, side_by_side=1) for folder in prompts]


def test_by_hand_a_wish_beyond_what_was_seen_is_warned_of(trained, capsys):
    assert sample_main(["--model", str(trained / "data/polytao"), "--number", "3", "--property", "length=90", "--out", os.devnull]) == 0
    assert "WARNING: 3 of 3 requests for length (90 to 90) lie outside what the model saw in training" in capsys.readouterr().err
    assert sample_main(["--model", str(trained / "data/polytao"), "--property", "lenght=9"]) == 1
    assert "no property 'lenght' (did you mean 'length'?); this model was trained with length, rings" in capsys.readouterr().err


def test_a_training_goes_on_from_a_polytao_and_refuses_another_form(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FIGMENT_TRACK", "jsonl")
    monkeypatch.chdir(tmp_path)
    folder, start = project(tmp_path, "tokens", 200), f"start_from={trained / 'data/polytao'}"
    assert HARNESS.run_here(folder, start, "steps={length: 2}") == 1
    assert "was trained with steps {}, found {'length': 2.0}; set steps to the former" in capsys.readouterr().err
    assert HARNESS.run_here(folder, start) == 0
    ranges = [open_polytao(where / "data/polytao", torch.device("cpu")).ranges for where in (trained, folder)]
    assert ranges[0] == ranges[1]


def published_like(folder: Path, rows: int | None = None) -> Path:
    """A T5 with a tokenizer of its own and nothing of ours in its configuration. rows: of embeddings, if not one a token."""
    tokenizer = build_tokenizer(list("CNOFSclnosBr()=#[]+-@H/\\123456"), [*"0789", ","])
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": rows or len(tokenizer)}
    T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_published_weights_know_the_published_prompt_and_can_be_trained_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FIGMENT_TRACK", "jsonl")
    monkeypatch.chdir(tmp_path)
    folder = project(tmp_path, "text", 40)
    start = published_like(tmp_path / "published")
    opened = open_polytao(start, torch.device("cpu"))
    assert len(opened.units) == 15 and not opened.ranges
    assert len(list(opened.sampler([{"mol_wt": 264, "ring_count": 1}, {}], SamplingSettings(0)))) == 2
    assert HARNESS.run_here(folder, f"start_from={start}", "prompt_style=tokens") == 1
    assert "has no tokens for wishes; take prompt_style: text" in capsys.readouterr().err
    assert HARNESS.run_here(folder, f"start_from={start}") == 0
    # Its tokenizer has no nitro group's charged atoms in one piece, nor charges of ours: what it cannot write is counted.
    assert json.loads((folder / "data/polytao/training_summary.json").read_text())["set_aside"]["train"]["out_of_vocabulary"] > 0
    assert set(open_polytao(folder / "data/polytao", torch.device("cpu")).units) == {"length", "rings"}


def test_weights_and_tokenizer_of_different_models_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    start = published_like(tmp_path / "other", rows=900)
    assert sample_main(["--model", str(start)]) == 1
    assert "the model 900 embeddings; take both from one model's folder" in capsys.readouterr().err
    folder = project(tmp_path, "text", 40)
    assert HARNESS.run_here(folder, f"start_from={start}") == 1
    assert "take both from one model's folder" in capsys.readouterr().err
    assert HARNESS.run_here(folder, "start_from=hkqiu/PolymerGenerationPretrainedModel") == 1
    assert "transformers finds no model" in (told := capsys.readouterr().err) and "with HF_HUB_OFFLINE=1 or no network give a folder" in told


def test_killed_once_or_paused_it_ends_with_the_same_bytes_and_the_same_series(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FIGMENT_TRACK", "jsonl")
    monkeypatch.chdir(tmp_path)
    prepared = project(tmp_path / "prepared", "tokens", 800)
    whole, killed, paused = (HARNESS.project(prepared, tmp_path / name) for name in ("whole", "killed", "paused"))
    assert HARNESS.run_here(whole) == 0
    # In the second half, of which the last 160 molecules were learnt after the checkpoint.
    HARNESS.kill(killed, 29)
    assert HARNESS.run_here(killed) == 0
    assert "continuing after 400 of 800" in capsys.readouterr().err
    assert HARNESS.run_here(paused, more=("--max-seconds", "0")) == 0
    assert json.loads(HARNESS.output(paused)["training_summary.json"])["samples_seen"] < 800
    assert HARNESS.run_here(paused) == 0
    made = HARNESS.output(whole)
    assert {"model.safetensors", "trained_on.json", "training_summary.json", "tokenizer.json"} <= set(made)
    assert HARNESS.output(killed) == HARNESS.output(paused) == made
    assert HARNESS.series(killed) == HARNESS.series(whole)


def test_steps_of_properties_that_are_not_asked_for_are_passed_over(in_text):
    config = build_config(PolyTAOConfig, read_yaml(in_text / "params.yaml")["polytao"] | {"steps": {"tpsa": 5, "rings": 2}}, where="polytao")
    task = open_task(in_text / "data", config, SilentReporter())
    assert PromptForm.of(task.model.config).steps == {"rings": 2}


def test_no_molecule_to_learn_from_is_said_with_the_reasons(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = project(tmp_path, "tokens")
    assert HARNESS.run_here(folder, "maximum_tokens=2") == 1
    assert "no molecule to learn from; set aside: {'out_of_vocabulary': 0, 'too_long': 108}" in capsys.readouterr().err
    assert HARNESS.run_here(folder, "properties=[length, wrings]") == 1
    assert "no property 'wrings' (did you mean 'rings'?)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"steps": {"mol_wt": 0}}, "steps.mol_wt must be above 0, found 0.0"),
        ({"properties": ["tpsa", "tpsa"]}, "properties names one twice"),
        ({"properties": []}, "must each name at least one"),
        ({"d_model": 10, "heads": 4}, "d_model 10 is not a multiple of heads 4"),
        ({"condition_dropout": 0.6}, r"condition_dropout must lie in \[0, 0.5\]"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused(values, reason):
    with pytest.raises(ParamsError, match=reason):
        build_config(PolyTAOConfig, values, where="polytao")


@pytest.mark.parametrize("file", ["params.yaml", "presets/demo.yaml", "presets/shared.yaml", "presets/paper.yaml"])
def test_the_sections_fit_their_programs(project_root, file):
    sections = read_yaml(project_root / file)
    for section, options in (("polytao", PolyTAOConfig), ("polytao_samples", SamplesConfig)):
        config = build_config(options, sections[section], where=section)
        assert set(sections[section]) == {field.name for field in fields(options)}
        if file == "presets/paper.yaml" and isinstance(config, PolyTAOConfig):
            # The published sizes are the defaults.
            same = ("properties", "steps", "prompt_style", "d_model", "layers", "heads", "d_ff")
            assert [getattr(config, name) for name in same] == [getattr(PolyTAOConfig(), name) for name in same]
