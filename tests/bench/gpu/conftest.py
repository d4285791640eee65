import pytest

from bench.gpu.prepare import prepare


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """A folder of few inputs, made as the real ones are."""
    folder = tmp_path_factory.mktemp("gpu") / "inputs"
    prepare(folder, pictures=20, molecules=120, say=lambda _: None)
    return folder
