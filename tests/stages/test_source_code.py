import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import source_code
from stages.source_code import SourceError, SourceTree, code_of, hash_of_meaning, program_fingerprint, read_source


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def closure(root: Path, module: str) -> list[str]:
    return list(SourceTree(root).closure(module))


@pytest.fixture
def project(tmp_path):
    return write(
        tmp_path,
        {
            "assets/__init__.py": "",
            "assets/molecules/__init__.py": "",
            "assets/molecules/build.py": "import numpy\nfrom assets.molecules import rows\nfrom training.common.params import load\n",
            "assets/molecules/rows.py": "from rdkit import Chem\nfrom . import columns\n",
            "assets/molecules/columns.py": "def width():\n    import training.common.lazy\n    return 3\n",
            "assets/molecules/unrelated.py": "import torch\n",
            "training/__init__.py": "",
            "training/common/__init__.py": "",
            "training/common/params.py": "load = 1\n",
            "training/common/lazy.py": "from PIL import Image\n",
        },
    )


# ---- closure ----


def test_the_closure_follows_absolute_relative_and_lazy_imports_and_takes_every_package_on_the_way(project):
    assert closure(project, "assets.molecules.build") == [
        "assets/__init__.py",
        "assets/molecules/__init__.py",
        "assets/molecules/build.py",
        "assets/molecules/columns.py",
        "assets/molecules/rows.py",
        "training/__init__.py",
        "training/common/__init__.py",
        "training/common/lazy.py",
        "training/common/params.py",
    ]


def test_a_file_says_which_modules_of_the_project_and_which_libraries_it_imports(project):
    columns = SourceTree(project).closure("assets.molecules.build")["assets/molecules/columns.py"]
    assert (columns.modules, columns.libraries) == (("training.common.lazy",), ())
    source = read_source(b"import numpy.linalg, os\nfrom . import rows\nfrom rdkit import Chem\n", "assets/molecules/x.py")
    assert source.modules == ("assets.molecules", "assets.molecules.rows")
    assert source.libraries == ("numpy", "os", "rdkit")


def test_what_is_left_out_is_neither_included_nor_followed(project):
    reached = SourceTree(project).closure("assets.molecules.build", but=("training.common.params", "assets.molecules.columns"))
    assert list(reached) == [
        "assets/__init__.py",
        "assets/molecules/__init__.py",
        "assets/molecules/build.py",
        "assets/molecules/rows.py",
    ]


def test_imports_for_type_checkers_are_not_followed_but_the_other_branch_is(tmp_path):
    write(
        tmp_path,
        {
            "assets/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import assets.b\nelse:\n    import assets.c\n",
            "assets/b.py": "",
            "assets/c.py": "",
        },
    )
    assert closure(tmp_path, "assets.a") == ["assets/a.py", "assets/c.py"]


def test_circular_imports_end(tmp_path):
    write(tmp_path, {"assets/a.py": "import assets.b\n", "assets/b.py": "import assets.a\n"})
    assert closure(tmp_path, "assets.b") == ["assets/a.py", "assets/b.py"]


def test_a_module_whose_source_is_looked_for_counts_like_one_that_is_imported(tmp_path):
    write(tmp_path, {"training/write.py": "from importlib.util import find_spec\nfind_spec('training.text')\n", "training/text.py": ""})
    assert closure(tmp_path, "training.write") == ["training/text.py", "training/write.py"]


def test_parent_packages_are_reached_by_double_dots_and_modules_by_a_literal_import_call(tmp_path):
    write(
        tmp_path,
        {
            "training/gpt/train.py": "from ..common import seeds\nfrom importlib import import_module\nimport_module('training.gpt.nets')\n",
            "training/gpt/nets.py": "",
            "training/common/seeds.py": "",
        },
    )
    assert closure(tmp_path, "training.gpt.train") == ["training/common/seeds.py", "training/gpt/nets.py", "training/gpt/train.py"]


def test_a_package_that_is_run_needs_its_main_module(tmp_path):
    write(tmp_path, {"assets/sub/__init__.py": "", "assets/other/__init__.py": "", "assets/other/__main__.py": ""})
    assert closure(tmp_path, "assets.other") == ["assets/other/__init__.py", "assets/other/__main__.py"]
    with pytest.raises(SourceError, match="no module assets.sub below .* expected assets/sub.py, or a package with assets/sub/__main__.py"):
        closure(tmp_path, "assets.sub")


def test_a_file_that_cannot_be_parsed_is_part_of_it_by_its_bytes(tmp_path):
    """While somebody types, everything else can still be judged; the program itself will say what is wrong."""
    write(tmp_path, {"assets/a.py": "import assets.b\n", "assets/b.py": "import assets.c\ndef (:\n", "assets/c.py": ""})
    assert closure(tmp_path, "assets.a") == ["assets/a.py", "assets/b.py"]
    before = program_fingerprint("assets.a", root=tmp_path)
    write(tmp_path, {"assets/b.py": "import assets.c\ndef  (:\n"})
    assert program_fingerprint("assets.a", root=tmp_path) != before


@pytest.mark.parametrize(
    ("file", "text", "moves"),
    [
        ("rows.py", '"""Other words."""\nfrom rdkit import Chem\nfrom . import columns  # why\n', False),
        ("rows.py", "from rdkit import Chem\nfrom . import columns\nx = 1\n", True),
        ("columns.py", "def width():\n    import training.common.lazy\n    return 4\n", True),
        ("unrelated.py", "import scipy\n", False),
    ],
)
def test_the_fingerprint_of_a_program_moves_with_what_its_files_mean(project, file, text, moves):
    before = program_fingerprint("assets.molecules.build", root=project)
    write(project, {f"assets/molecules/{file}": text})
    assert (program_fingerprint("assets.molecules.build", root=project) != before) is moves


def test_the_same_text_under_another_name_is_another_program(project):
    before = program_fingerprint("assets.molecules.build", root=project)
    (project / "assets/molecules/columns.py").rename(project / "assets/molecules/widths.py")
    write(project, {"assets/molecules/rows.py": "from rdkit import Chem\nfrom . import widths\n"})
    renamed = program_fingerprint("assets.molecules.build", root=project)
    write(project, {"assets/molecules/widths.py": "", "assets/molecules/columns.py": "", "assets/molecules/rows.py": ""})
    assert len({before, renamed, program_fingerprint("assets.molecules.build", root=project)}) == 3


def test_the_code_of_a_loaded_module_is_that_of_its_file():
    assert code_of(source_code) == hash_of_meaning(Path(source_code.__file__).read_bytes())


# ---- the meaning of source ----

ORIGINAL = b'''"""A module."""

import os


class Box:
    """A box."""

    def area(self, side: int = 2) -> int:
        """Side squared."""
        # why
        return side**2


NAME = f"{os.sep!r:>{4}} and {'x'}" "tail"
'''

SAME = b'''"""Another sentence."""
import os
class Box:
    def area(self, side:int=2)->int:
        return (side ** 2)  # other reason
NAME = (f"{os.sep!r:>{4}} and {'x'}"
        'tail')
'''


def test_comments_layout_and_docstrings_have_no_meaning():
    assert hash_of_meaning(ORIGINAL) == hash_of_meaning(SAME)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"side**2", b"side**3"),
        (b"int = 2", b"int = 2.0"),
        (b"'x'", b"'y'"),
        (b"!r", b"!s"),
        (b">{4}", b"<{4}"),
        (b"import os\n", b"import os as so\n"),
        (b"class Box", b"@print\nclass Box"),
        (b'"tail"', b'b"tail"'),
        (b"-> int", b"-> float"),
    ],
)
def test_any_other_edit_has_meaning(old, new):
    assert old in ORIGINAL
    assert hash_of_meaning(ORIGINAL.replace(old, new, 1)) != hash_of_meaning(ORIGINAL)


def test_true_and_one_differ_as_do_a_number_and_its_text():
    hashes = {hash_of_meaning(f"x = {value}".encode()) for value in ("1", "True", "1.0", "'1'", "b'1'", "1j", "None", "...")}
    assert len(hashes) == 8


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"""One."""\nprint(__doc__)\n', b'"""Two."""\nprint(__doc__)\n'),
        (b'def f():\n    """One."""\nprint(f.__doc__)\n', b'def f():\n    """Two."""\nprint(f.__doc__)\n'),
        (b'def f():\n    """One."""\nimport inspect\ninspect.getdoc(f)\n', b'def f():\n    """Two."""\nimport inspect\ninspect.getdoc(f)\n'),
        (b'def f():\n    """One."""\ngetattr(f, "__doc__")\n', b'def f():\n    """Two."""\ngetattr(f, "__doc__")\n'),
    ],
)
def test_a_docstring_that_the_code_reads_has_meaning(before, after):
    assert hash_of_meaning(before) != hash_of_meaning(after)


@pytest.mark.parametrize("use", ["ArgumentParser(description=__doc__)", "argparse.ArgumentParser(epilog=__doc__)", "program(__doc__, run)"])
def test_a_docstring_that_only_help_shows_has_none(use):
    assert hash_of_meaning(f'"""One."""\n{use}\n'.encode()) == hash_of_meaning(f'"""Two."""\n{use}\n'.encode())


def test_what_is_not_python_is_hashed_byte_for_byte():
    assert hash_of_meaning(b"def (:") != hash_of_meaning(b"def  (:")
    assert hash_of_meaning(b"\x00") != hash_of_meaning(b"\x00\x00")


def test_a_deeply_nested_file_is_hashed_rather_than_refused():
    source = b"x = " + b"-" * 3000 + b"1\n"
    assert len(hash_of_meaning(source)) == 64


@given(st.lists(st.sampled_from(["# note", "", "x = 1", "y = [1,\n  2]", '"""words"""']), max_size=6))
def test_the_lines_with_meaning_alone_decide(lines):
    meaningful = [line for line in lines if line[:1] in "xy" and line]
    assert hash_of_meaning("\n".join(lines).encode()) == hash_of_meaning("\n".join(meaningful).encode())


def other_pythons() -> list[str]:
    """Interpreters of the other supported releases, wherever this machine keeps them."""
    found = {}
    for minor in (11, 12, 13):
        if minor == sys.version_info[1]:
            continue
        places = [*sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")), shutil.which(f"python3.{minor}")]
        for place in filter(None, places):
            probe = [str(place), "-c", f"import sys; assert sys.version_info[:2] == (3, {minor})"]
            if subprocess.run(probe, capture_output=True).returncode == 0:
                found[minor] = str(place)
                break
    return list(found.values())


SYNTAX = [
    b"def f(a, /, b: int = 1, *c, d=2, **e) -> None: ...\n",
    b"class C(A, metaclass=M):\n    x: int\n    async def g(self):\n        async with a as b, c: yield [i async for i in j if i]\n",
    b"match p:\n    case {'a': 1, **rest} | [*_]: pass\n    case C(x=None) as y if y > 0: pass\n",
    b"f'{a!r:>{w}.{p}}' f'{{}}' 'b' f'{x=}' f'{y:}' f\"{'q'}\" f'{z:%Y-%m}'\n",
    b"try:\n    a\nexcept* (B, C) as d:\n    raise E from d\nelse:\n    f\nfinally:\n    g\n",
    b"x = (y := 1), *z, lambda q=1: q, -0xFF, 1e400, 1_000j, u'u', b'\\xff', '\\ud800', 0x1" + b"0" * 5000 + b"\n",
    b"for i, in j:\n    del k[1:2, ...]\nelse:\n    global m\n    assert n, 'o'\n",
    ORIGINAL,
]


def test_every_supported_python_computes_the_same_hash(tmp_path, project_root):
    pythons = other_pythons()
    if not pythons:
        pytest.skip("no other supported Python on this machine")
    files = [path for package in ("assets", "orchestration", "stages", "training") for path in sorted((project_root / package).rglob("*.py"))]
    for number, source in enumerate(SYNTAX):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_bytes(source)
    ours = [hash_of_meaning(path.read_bytes()) for path in files]
    program = (
        "import sys; sys.dont_write_bytecode = True\n"
        "from pathlib import Path; from stages.source_code import hash_of_meaning\n"
        "for name in sys.stdin.read().split('\\n'): print(hash_of_meaning(Path(name).read_bytes()))"
    )
    for python in pythons:
        done = subprocess.run([python, "-c", program], input="\n".join(map(str, files)), capture_output=True, text=True, cwd=project_root, check=True)
        theirs = done.stdout.split()
        assert [path.name for path, a, b in zip(files, ours, theirs, strict=True) if a != b] == [], python
