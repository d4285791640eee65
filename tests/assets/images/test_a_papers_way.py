"""docs/a_papers_way.md: the files it names are there, and its new source of pictures becomes a dataset."""

import re
from types import ModuleType

import pytest

pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

from assets.images.dataset import build_dataset
from assets.images.dataset_config import DatasetConfig
from assets.images.gather import GatherConfig
from formats.image_shards import ImageShards
from tests.assets.images.originals_folder import Silent, drawing


@pytest.fixture
def page(project_root) -> str:
    return (project_root / "docs/a_papers_way.md").read_text(encoding="utf-8")


def test_every_file_of_the_image_room_is_named(page, project_root):
    files = {path.relative_to(project_root).as_posix() for path in (project_root / "assets/images").glob("[a-z]*.py")}
    assert {file for file in files if f"`{file}`" not in page} == {"assets/images/columns.py", "assets/images/dataset_config.py"}


def test_its_new_source_of_pictures_becomes_a_dataset(page, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module = ModuleType("postcards")
    exec(compile(code, "docs/a_papers_way.md", "exec"), module.__dict__)
    (tmp_path / "attic").mkdir()
    for number in range(3):
        (tmp_path / f"attic/{number}.png").write_bytes(drawing(number))
    gathered = tmp_path / "data/postcard_images"
    assert module.gather_postcards(tmp_path / "attic", gathered, config=GatherConfig(), scratch=tmp_path / "scratch").images == 3
    target = tmp_path / "data/postcard_dataset@32"
    config = DatasetConfig(sizes=[32], fit="crop", colours="grey", labels="name")
    build_dataset(32, config, module.SUBJECT, gathered, target, figment=tmp_path / ".figment", reporter=Silent())
    assert (len(ImageShards(target)), ImageShards(target).channels, ImageShards(target).label_dim) == (3, 1, 3)
    assert "# Postcards at 32 px" in (target / "README.md").read_text()
