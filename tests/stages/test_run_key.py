"""What decides a training, and so the name of its checkpoints."""

from pathlib import Path

import pytest

from stages.run_key import code_fingerprint, run_key

FILES = {
    "__init__.py": '"""A package."""\n',
    "program.py": "from toy.model import WIDTH\n\ndef main():\n    from toy.late import DEPTH\n    return WIDTH + DEPTH\n",
    "model.py": '"""Docstring."""\nWIDTH = 3  # comment\n',
    "late.py": "DEPTH = 2\n",
    "stranger.py": "OTHER = 1\n",
}


@pytest.fixture
def package(tmp_path) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        ("model.py", '"""Other words."""\n\nWIDTH = 3\n', False),
        ("model.py", "WIDTH = 4\n", True),
        ("late.py", "DEPTH = 3\n", True),
        ("stranger.py", "OTHER = 2\n", False),
        ("program.py", FILES["program.py"] + "\nmain()\n", True),
    ],
)
def test_code_counts_where_it_is_imported_and_comments_do_not(package, name, text, changes):
    before = code_fingerprint("toy.program", package=package)
    (package / name).write_text(text)
    assert (code_fingerprint("toy.program", package=package) != before) is changes


def test_a_key_depends_on_stage_config_inputs_and_not_on_the_order_of_inputs():
    def key(stage="polygpt", config=None, inputs=None) -> str:
        return run_key(stage, "training.loop.ema", config=config or {"seed": 1}, inputs=inputs or {"a": "1", "b": "2"})

    assert key() == key(inputs={"b": "2", "a": "1"})
    assert len({key(), key(stage="other"), key(config={"seed": 2}), key(inputs={"a": "1", "b": "3"})}) == 4


def test_neither_tracking_nor_sampling_is_part_of_what_polygpt_learns():
    from stages import run_key as module

    seen = []
    original = module._file
    try:
        module._file = lambda name, package: seen.append(name) or original(name, package)
        code_fingerprint("training.polymers.gpt.train")
    finally:
        module._file = original
    parsed = set(seen)
    assert {"training.loop.loop", "training.polymers.gpt.losses", "training.polymers.smiles_tokenizer"} <= parsed
    assert "training.polymers.gpt.sample" not in parsed
