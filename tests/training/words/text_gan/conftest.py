"""Both trainings of a toy, once for all tests that only look at them."""

from pathlib import Path

import pytest

from tests.training.words.text_gan.toy_grammar import PARAMS, arguments, write_data
from training.words.text_gan import train, train_mle


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A project in which both have been trained without a stop."""
    folder = tmp_path_factory.mktemp("finished")
    write_data(folder / "data")
    (folder / "params.yaml").write_text(PARAMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIGMENT_TRACK", "none")
        assert train_mle.main(arguments(folder)) == 0 and train.main(arguments(folder)) == 0
    return folder
