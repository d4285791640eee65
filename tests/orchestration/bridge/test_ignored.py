"""What .dvcignore leaves out of an input, as DVC leaves it out."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.bridge.ignored import read_ignored
from tests.orchestration.bridge.toy import Toy

FILES = ("raw/a.txt", "raw/b.txt", "raw/c.log", "raw/sub/d.log", "raw/sub/__pycache__/e.pyc", "raw/sub/keep/f.log", "raw/.git/g", "raw/build")


@pytest.mark.parametrize(
    "patterns",
    [
        "",
        "*.log",
        "*.log\n!c.log\n",
        "# a comment\n/raw/sub\n",
        "/raw/**/__pycache__",
        "build/\nkeep/\n",
        "/raw/*\n!/raw/a.txt\n",
        "**/sub/**\n!**/keep\n",
        " /raw/b.txt \n",
        "/elsewhere\n/sub\n",
    ],
)
def test_a_folder_that_a_stage_reads_has_the_id_that_dvc_gives_it(toy: Toy, patterns: str) -> None:
    toy.write(".dvcignore", f"/.figment\n/.runs\n{patterns}")
    for path in FILES:
        toy.write(path, path)
    toy.dvc("commit", "-q", "-f", "side")

    assert toy.project().content("raw").id == toy.project().lock().entries["side"].deps["raw"]
    assert "side" not in toy.stale() | toy.dvc_stale()


def test_a_change_of_what_is_left_out_is_none_and_of_the_patterns_is_one(toy: Toy) -> None:
    toy.write(".dvcignore", "/.figment\n/.runs\n*.log\n")
    toy.write("raw/c.log", "one")
    assert toy.stale() == toy.dvc_stale() == set()
    toy.write("raw/c.log", "two")
    assert toy.stale() == toy.dvc_stale() == set()
    toy.write(".dvcignore", "/.figment\n/.runs\n")

    assert toy.stale() == toy.dvc_stale() == {"rows", "side"}


_WORDS = st.sampled_from(["a", "b", "x.log", "keep"])
_PATTERN = st.builds(
    lambda no, start, parts, star, end: no + start + "/".join([*star, *parts]) + end,
    st.sampled_from(["", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(st.one_of(_WORDS, st.sampled_from(["*", "**", "*.log"])), min_size=1, max_size=3),
    st.lists(st.just("**"), max_size=1),
    st.sampled_from(["", "/"]),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(patterns=st.lists(_PATTERN, max_size=4))
def test_any_patterns_leave_out_what_dvc_leaves_out(tmp_path: Path, patterns: list[str]) -> None:
    from dvc.ignore import DvcIgnorePatterns

    (tmp_path / ".dvcignore").write_text("\n".join(patterns))
    ours = read_ignored(tmp_path, tmp_path / "memory")
    theirs = DvcIgnorePatterns([".hg/", ".git/", ".git", ".dvc/", *patterns], str(tmp_path), "/")

    for folder in ("a", "a/b", "a/keep", "b", "b/a/keep"):
        path = Path(folder)
        if any(ours(str(above), True) for above in path.parents if str(above) != "."):
            continue
        assert ours(folder, True) == theirs.matches(str(tmp_path / path.parent), path.name, True), folder
        for name in ("x.log", "y", "keep"):
            if not ours(folder, True):
                assert ours(f"{folder}/{name}", False) == theirs.matches(str(tmp_path / folder), name), f"{folder}/{name}"


def test_a_second_look_does_not_import_the_library_that_reads_patterns(toy: Toy) -> None:
    toy.stale()
    program = (
        f"import sys; from pathlib import Path; from orchestration.bridge.project import Project; Project(Path({str(toy.root)!r})).content('raw');"
    )
    done = subprocess.run([sys.executable, "-c", program + "print('pathspec' in sys.modules)"], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
