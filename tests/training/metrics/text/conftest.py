"""Real captions where they are at hand, and generated ones else."""

import itertools
from pathlib import Path

import pytest

CAPTIONS = Path(__file__).resolve().parents[5] / "shared" / "data" / "text" / "image_coco.txt"


@pytest.fixture(scope="session", params=["generated", pytest.param("real", marks=pytest.mark.shared_data)])
def shared_captions(request: pytest.FixtureRequest) -> list[list[str]]:
    """Captions as words: ten thousand of COCO, and a thousand by a grammar."""
    if request.param == "real":
        return [line.split() for line in CAPTIONS.read_text(encoding="utf-8").splitlines()]
    parts = (
        ["a", "one", "the"],
        ["red", "small", "old", "wet", "big"],
        ["dog", "bus", "cat", "sink", "man"],
        ["near", "on", "by"],
        ["it", "grass", "snow"],
    )
    sentences = [list(words) for words in itertools.product(*parts)]
    return [*sentences[::2], *sentences[1::2]]
