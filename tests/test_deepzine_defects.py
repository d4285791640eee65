"""The thirteen defects of DeepZine: docs/books.md names a test for each, and the test is there."""

import re

_ROW = re.compile(r"^\| (\d+): .+ \| `(tests/\S+\.py)::(test_\w+)` \|$", re.MULTILINE)


def test_every_defect_has_a_test_that_is_there(project_root):
    named = _ROW.findall((project_root / "docs/books.md").read_text(encoding="utf-8"))
    assert {int(number) for number, _, _ in named} == set(range(1, 14))
    for _, path, name in named:
        assert f"\ndef {name}(" in (project_root / path).read_text(encoding="utf-8"), f"{path}: no {name}"
