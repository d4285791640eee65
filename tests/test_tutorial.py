"""docs/your_own_journal.md, from top to bottom: its files written, its lines typed, with fewer pictures shown to the network."""

import re
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.documented import type_line

if find_spec("torch") is None or find_spec("scrapy") is None:
    pytest.skip("needs the extras of the demo", allow_module_level=True)

QUICK = "  kimg: 0.032\n  snap: 0.032\n  tick: 0.016\n  checkpoint_kimg: 0.032\n  grid: [2, 1]\n  metric_images: 8\n  guard_images: 8\n"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_goes_from_a_folder_of_pages_to_imaginary_pictures_and_through_a_night(project_copy: Path, project_root: Path):
    page = (project_root / "docs/your_own_journal.md").read_text(encoding="utf-8")
    ours = page.partition("## A journal on the web")[0]
    files = re.findall(r"^`([\w./]+)`\n\n```(?:python|yaml)\n(.*?)^```$", ours, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in files] == ["make_journal.py", "presets/mine.yaml"]
    for name, text in files:
        (project_copy / name).write_text(re.sub(r"^  kimg: .*\n  snap: .*\n", QUICK, text, flags=re.MULTILINE), encoding="utf-8")

    papers: list[int] = []
    for block in re.findall(r"^```console\n(.*?)^```$", ours, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            done = type_line(project_copy, line)
            # A look at what is not made yet, or not any more, ends with 1.
            assert done.returncode == 0 or (line.startswith("figment status") and done.returncode == 1), f"{line}\n{done.stdout}\n{done.stderr}"
        if (project_copy / "data/papers").is_dir():
            papers.append(pq.read_table(project_copy / "data/papers/papers-00000.parquet").num_rows)

    assert papers == [60, 60, 60, 61]
    assert (project_copy / "data/toc_dataset@128/contact_sheet.png").is_file()
    assert sorted(path.name for path in (project_copy / "data/toc_fakes").glob("gallery*"))
