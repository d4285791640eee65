"""What README and docs tell people to type: every line parses, and every line that can be run in a finished project is run in one."""

import argparse
import importlib
import re
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from orchestration.cli.main import VERBS, verb_module, verb_parser
from orchestration.cli.preset import apply_preset
from tests.documented import Command, commands, type_line

ROOT = Path(__file__).resolve().parent.parent

# What is not run here, and what stands for it.
ELSEWHERE = {
    r"make |PYTHON=|TORCH=": "the verbs of the Makefile are tests/test_setup.py's, and these are the tests themselves",
    r"git clone|pip install|-m venv|pre-commit install": "installs from the network; tests/test_setup.py does it with small packages",
    r"figment (up|view|app)|python -m assets\.demo_sites|training\.\w+\.view": "runs until Ctrl-C; tests of the servers start and stop them",
    r"figment crawl try": "asks somebody's site; tests/assets/papers/crawl/test_trying.py has one of its own",
    r"figment demo$": "what the whole test begins with, in small",
    r"network-snapshot-005000\.pkl": "a file of NVIDIA's; tests/training/stylegan3/test_nvidia_snapshots.py writes one",
    r"\bcolour": "tests/test_worked_example.py",
    r"my_journal|preset mine": "tests/test_tutorial.py",
    r"figment import|--data imported": "files of other programs; tests/orchestration/cli/test_import.py writes some",
    r"training\.cyclegan\.junyanz": "checkpoints of another program; tests/training/cyclegan/test_junyanz.py writes some",
    r"python -m bench|figment preset (shared|paper|one_core|bakeoff_cpu)|sources_report": "needs data from elsewhere, or an hour",
    r"start_from=gpt2|hkqiu/": "needs weights from the network",
    r"vl_convert|html_template": "needs a package from the network",
    r"dvc remote|dvc (push|pull|fetch)|git ": "needs a remote; tests/orchestration/test_sharing.py has one",
}
# What leaves the project otherwise than it found it comes last, in this order.
LAST = (r"materialize molecules --force", r"exp run", r"demo --nightly", r"figment nightly", r"retract")

# The demo in a minute.
TINY = """\
molecule_sources:
  sources:
    - {name: nci, kind: rdkit, path: Contrib/fraggle/data/ChEMBL_11265_actives.smi, licence: BSD-3-Clause, role: molecules}
    - {name: nci_repeat_units, kind: repeat_units, of: nci, count: 100, seed: 0, licence: BSD-3-Clause, role: polymers}
molecules: {valid_fraction: 0.3, test_fraction: 0.2}
polygpt: {width: 32, layers: 1, heads: 2, pretrain_samples: 320, finetune_samples: 320, warmup_samples: 32}
polygpt_samples: {unconditional: 20, conditional: 10, temperatures: [1.0]}
polygpt_report: {with_fcd: false, bootstrap_rounds: 10}
property_predictor: {bits: 128, width: 16, members: 2, total_samples: 2000, checkpoint_every_samples: 1000}
predictor_report: {bootstrap_rounds: 10, ridge_at_most: 100}
polyldm: {hidden_width: 32, total_samples: 2000, warmup_samples: 100, unfreeze_at_samples: 1000, validation_steps: 5}
polyldm_samples: {unconditional: 20, conditional: 10, temperatures: [1.0], steps: 5}
polyvae: {width: 32, property_width: 8, latent: 8, layers: 1, heads: 2, total_samples: 640, warmup_samples: 32}
polyvae_samples: {unconditional: 20, conditional: 10, temperatures: [1.0]}
polyvae_report: {with_fcd: false, bootstrap_rounds: 10, reconstructed: 20, interpolation_steps: 3}
stylegan3_toc: {kimg: 0.032, snap: 0.032, tick: 0.016, checkpoint_kimg: 0.032, grid: [2, 1], metric_images: 8, guard_images: 8}
toc_fakes: {seeds: "0-15", gallery: [2, 1]}
toc_training_video: {seeds: "0-1", grid: [1, 1], keyframes: 2, w_frames: 2}
toc_report:
  {swd_images: 16, ms_ssim_pairs: 4, drawn_images: 2, nearest_pairs: 2, kid_subsets: 4, most_reals: 32,
   eq_samples: 2, ppl_samples: 2, spectrum_images: 16}
pggan_pages:
  {kimg: 0.04, stable_kimg: 0.008, fade_kimg: 0.008, snap: 0.04, tick: 0.016, checkpoint_kimg: 0.04, grid: [2, 1], metric_images: 8, guard_images: 8}
book_fakes: {seeds: "0-15", gallery: [2, 1]}
book_walks: {methods: [spherical], seeds: "0-1", grid: [1, 1], keypoints: 2, frames: 2}
book_report: {swd_images: 16, ms_ssim_pairs: 4, drawn_images: 2, nearest_pairs: 2, kid_subsets: 4, most_reals: 32, spectrum_images: 16}
stylegan3_pages: {kimg: 0.032, snap: 0.032, tick: 0.016, checkpoint_kimg: 0.032, grid: [2, 1], metric_images: 8, guard_images: 8}
title_gpt2: {vocabulary_size: 300, width: 16, layers: 1, total_samples: 2000, evaluate_every_samples: 1000, shown: 2}
titles_report: {free_titles: 8, completed_titles: 2}
text_mle: {total_sentences: 64, warmup_sentences: 8, generator: {width: 16, heads: 2, hidden: 16}}
text_gan: {total_sentences: 64, critic: {width: 8, heads: 2, hidden: 16}, guard_diversity: 0}
text_report: {temperatures: [1.0], samples: 20}
toc_encoder: {total_samples: 32, evaluate_every_samples: 32, checkpoint_every_samples: 32, report_every_samples: 16, evaluate_at_most: 8}
toc_titler: {total_samples: 32, evaluate_every_samples: 32, checkpoint_every_samples: 32, report_every_samples: 16, shown_pairs: 2}
titler_report: {training_pairs: 4, held_out_pairs: 4, shown_pairs: 2}
cyclegan_paintings: {kimg: 0.016, snap: 0.016, tick: 0.008, checkpoint_kimg: 0.016, metric_images: 4, guard_images: 4}
polytao: {d_model: 16, layers: 1, heads: 2, d_ff: 16, total_samples: 320, warmup_samples: 32, evaluate_at_most: 8, written_prompts: 2}
polytao_samples: {unconditional: 20, conditional: 10, temperatures: [1.0]}
imaginary_papers:
  {count: 2, most_tries: 32, title_characters: [1, 300], abstract_characters: [1, 3000], least_variety: 0, most_similarity: 1,
   least_picture_levels: 0, least_contrast_levels: 0}
abstract_t5: {total_samples: 4000, warmup_samples: 400, evaluate_at_most: 4}
abstract_report: {most_pairs: 4, written_pairs: 2, bootstrap_rounds: 10}
title_t5: {total_samples: 4000, warmup_samples: 400, evaluate_at_most: 4}
molecule_bakeoff: {samples_at_most: 10, with_fcd: false, bootstrap_rounds: 10, uniqueness_at: [10]}
title_t5_report: {most_pairs: 4, written_pairs: 2, bootstrap_rounds: 10}
"""

if find_spec("torch") is None or find_spec("scrapy") is None:
    pytest.skip("needs the extras of the demo", allow_module_level=True)


def shown() -> list[Command]:
    return [command for command in commands(ROOT) if not re.search("letters_of_nothing|make_journal|…|<", command.text)]


def elsewhere(command: Command) -> str | None:
    return next((reason for pattern, reason in ELSEWHERE.items() if re.search(pattern, command.text)), None)


class Parsed(BaseException):
    """Ends a program when its command line has been understood."""


def parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program itself read its command line, and do nothing. Raises SystemExit where it would refuse."""
    match words:
        case ["figment", verb, *rest]:
            verb_parser(verb, verb_module(verb)).parse_args(rest)
        case ["dvc", *rest]:
            importlib.import_module("dvc.cli").parse_args(rest)
        case ["python" | ".venv/bin/python", "-m", module, *rest]:
            whole = argparse.ArgumentParser.parse_args

            def parse_only(self: argparse.ArgumentParser, args: list[str] | None = None, namespace: None = None) -> argparse.Namespace:
                whole(self, rest if args is None else args, namespace)
                raise Parsed

            monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
            name = module if not find_spec(module).submodule_search_locations else f"{module}.__main__"
            with pytest.raises(Parsed):
                importlib.import_module(name).main(rest)
        case _:
            raise AssertionError(f"no parser is known for '{words[0]}'")


@pytest.mark.parametrize("command", [found for found in shown() if not re.match(r"make|git|[A-Z.]|python3", found.text)], ids=str)
def test_a_command_of_a_page_is_one_that_its_program_understands(command: Command, monkeypatch: pytest.MonkeyPatch):
    parse(shlex.split(command.text), monkeypatch)


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_of_a_verbs_help_are_ones_that_it_understands(verb: str, monkeypatch: pytest.MonkeyPatch):
    module = verb_module(verb)
    examples = re.findall(rf"^ +(figment {verb}.*?)(?:  .*| \| .*| > .*)?$", (module.__doc__ or "").partition("\nExamples:\n")[2], re.MULTILINE)
    assert examples
    for example in examples:
        parse(shlex.split(example), monkeypatch)


def test_what_is_not_run_is_still_on_a_page():
    """A pattern that excuses nothing any more would excuse the next command that happens to look like it."""
    texts = [command.text for command in commands(ROOT)]
    assert [pattern for pattern in (*ELSEWHERE, *LAST) if not any(re.search(pattern, text) for text in texts)] == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo that was made, committed to git."""
    root = tmp_path_factory.mktemp("finished") / "project"
    listed = subprocess.run(["git", "ls-files", "-z", "--", ":!tests"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((ROOT / name).read_bytes())
    (root / "presets/tiny.yaml").write_text(TINY)
    apply_preset(root / "params.yaml", root / "presets/tiny.yaml")
    git(root, "init", "-q")
    done = type_line(root, "figment materialize --all")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    git(root, "add", ".")
    git(root, "commit", "-qm", "A small demo")
    return root


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *words], cwd=root, check=True, capture_output=True)


def rank(command: Command) -> int:
    return next((place for place, pattern in enumerate(LAST, 1) if re.search(pattern, command.text)), 0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_of_the_pages_does_what_it_says_in_a_finished_project(finished: Path):
    failed = []
    for command in sorted((found for found in shown() if elsewhere(found) is None), key=rank):
        done = type_line(finished, command.text)
        # Looking at a project that an earlier line changed finds something stale, and says so with 1.
        if done.returncode not in ((0, 1) if re.match(r"figment (status|doctor)", command.text) else (0,)):
            failed.append(f"{command}: {done.returncode}\n{done.stdout[-600:]}\n{done.stderr[-1200:]}")
    assert failed == []
