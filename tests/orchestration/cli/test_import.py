"""`figment import cyclegan` hands over to the program that reads junyanz' checkpoints, and writes over nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.orchestration.cli.figment import figment


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path, project_root: Path) -> None:
    answer = figment(project_root, "import", "cyclegan", str(tmp_path / "checkpoints"), str(tmp_path))
    assert (answer.code, answer.err) == (1, f"figment: {tmp_path}: exists already; name another place, or remove it first\n")


def test_what_is_imported_has_to_be_said(project_root: Path) -> None:
    answer = figment(project_root, "import")
    assert answer.code == 2
    assert "KIND" in answer.err


@pytest.mark.slow
def test_checkpoints_become_a_model_folder(tmp_path: Path, project_root: Path) -> None:
    torch = pytest.importorskip("torch")
    generators = pytest.importorskip("training.cyclegan.generator", exc_type=ModuleNotFoundError)
    config = pytest.importorskip("training.cyclegan.config", exc_type=ModuleNotFoundError).CycleGANConfig(resolution=32, ngf=2)
    made = generators.make_generators(config)
    for name, network in (("G_A", made.a_to_b), ("G_B", made.b_to_a)):
        torch.save(network.state_dict(), tmp_path / f"12_net_{name}.pth")
    words = ["import", "cyclegan", str(tmp_path), str(tmp_path / "model"), "--epoch", "12", "--resolution", "32"]
    subprocess.run([sys.executable, "-m", "orchestration.cli.main", *words], cwd=project_root, check=True, capture_output=True)
    back = generators.load_generators(tmp_path / "model")
    assert back.config.ngf == 2 and back.config.resolution == 32
    assert all(torch.equal(one, other) for one, other in zip(made.a_to_b.state_dict().values(), back.a_to_b.state_dict().values(), strict=True))
