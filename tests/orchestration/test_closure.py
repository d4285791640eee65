import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.closure import ClosureError, import_closure, imported_libraries, normalised_source_hash, stage_modules, update_deps


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def closure(root: Path, module: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in import_closure(root, module)]


@pytest.fixture
def project(tmp_path):
    return write(
        tmp_path,
        {
            "assets/__init__.py": "",
            "assets/molecules/__init__.py": "",
            "assets/molecules/build.py": "import numpy\nfrom assets.molecules import rows\nfrom stages.params import load\n",
            "assets/molecules/rows.py": "from rdkit import Chem\nfrom . import columns\n",
            "assets/molecules/columns.py": "def width():\n    import training.common.lazy\n    return 3\n",
            "assets/molecules/unrelated.py": "import torch\n",
            "training/__init__.py": "",
            "training/common/__init__.py": "",
            "stages/params.py": "load = 1\n",
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
        "stages/params.py",
    ]


def test_the_libraries_of_a_closure_are_named_by_distribution_and_only_where_they_decide_bytes(project):
    assert imported_libraries(project, import_closure(project, "assets.molecules.build")) == ["numpy", "pillow", "rdkit"]


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
    with pytest.raises(ClosureError, match="expected assets/sub.py, or a package with a __main__.py"):
        import_closure(tmp_path, "assets.sub")


def test_a_file_that_cannot_be_parsed_is_named(tmp_path):
    write(tmp_path, {"assets/a.py": "import assets.b\n", "assets/b.py": "def (:\n"})
    with pytest.raises(ClosureError, match="assets/b.py: cannot be parsed"):
        import_closure(tmp_path, "assets.a")


@pytest.mark.parametrize(
    ("cmd", "modules"),
    [
        ("python -m assets.molecules.build molecules", ["assets.molecules.build"]),
        ("python3.12 -u -m training.gpt.train --set 'a=b c'", ["training.gpt.train"]),
        ("torchrun --nproc-per-node 2 -m training.gpt.train", ["training.gpt.train"]),
        (["python -m assets.a", "python -m assets.b ${item.name}"], ["assets.a", "assets.b"]),
        ("python -m assets.a && python -m assets.a", ["assets.a"]),
        ("echo hello", []),
    ],
)
def test_the_modules_of_a_command_are_found(cmd, modules):
    assert stage_modules(cmd) == modules


def test_a_command_with_unbalanced_quotes_is_an_error_that_shows_it():
    with pytest.raises(ClosureError, match="cannot be split"):
        stage_modules("python -m assets.a 'b")


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
    assert normalised_source_hash(ORIGINAL) == normalised_source_hash(SAME)


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
    assert normalised_source_hash(ORIGINAL.replace(old, new, 1)) != normalised_source_hash(ORIGINAL)


def test_true_and_one_differ_as_do_a_number_and_its_text():
    hashes = {normalised_source_hash(f"x = {value}".encode()) for value in ("1", "True", "1.0", "'1'", "b'1'", "1j", "None", "...")}
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
    assert normalised_source_hash(before) != normalised_source_hash(after)


@pytest.mark.parametrize("use", ["ArgumentParser(description=__doc__)", "argparse.ArgumentParser(epilog=__doc__)", "program(__doc__, run)"])
def test_a_docstring_that_only_help_shows_has_none(use):
    assert normalised_source_hash(f'"""One."""\n{use}\n'.encode()) == normalised_source_hash(f'"""Two."""\n{use}\n'.encode())


def test_what_is_not_python_is_hashed_byte_for_byte():
    assert normalised_source_hash(b"def (:") != normalised_source_hash(b"def  (:")
    assert normalised_source_hash(b"\x00") != normalised_source_hash(b"\x00\x00")


def test_a_deeply_nested_file_is_hashed_rather_than_refused():
    source = b"x = " + b"-" * 3000 + b"1\n"
    assert len(normalised_source_hash(source)) == 64


@given(st.lists(st.sampled_from(["# note", "", "x = 1", "y = [1,\n  2]", '"""words"""']), max_size=6))
def test_the_lines_with_meaning_alone_decide(lines):
    meaningful = [line for line in lines if line[:1] in "xy" and line]
    assert normalised_source_hash("\n".join(lines).encode()) == normalised_source_hash("\n".join(meaningful).encode())


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
    files = [
        path for package in ("assets", "formats", "orchestration", "stages", "training") for path in sorted((project_root / package).rglob("*.py"))
    ]
    for number, source in enumerate(SYNTAX):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_bytes(source)
    ours = [normalised_source_hash(path.read_bytes()) for path in files]
    program = (
        "import sys; sys.dont_write_bytecode = True\n"
        "from pathlib import Path; from orchestration.closure import normalised_source_hash\n"
        "for name in sys.stdin.read().split('\\n'): print(normalised_source_hash(Path(name).read_bytes()))"
    )
    for python in pythons:
        done = subprocess.run([python, "-c", program], input="\n".join(map(str, files)), capture_output=True, text=True, cwd=project_root, check=True)
        theirs = done.stdout.split()
        assert [path.name for path, a, b in zip(files, ours, theirs, strict=True) if a != b] == [], python


# ---- dvc.yaml ----

DVC_YAML = """\
# The graph.
vars:
  - sizes: [1, 2]

stages:
  # where rows come from
  fetch:
    cmd: python -m assets.fetch
    params: [fetch]
    outs: [data/fetch]
    meta: {source: true}

  rows:
    desc: >-
      Rows, built
      in one pass.
    cmd: python -m assets.build rows   # one pass
    deps:
      - data/fetch       # upstream
      # code
      - assets/gone.py   # no longer imported
      - assets/build.py  # the builder
      - vendor/tool.py
    params:
      - rows
      - libraries.yaml: [torch]
    outs:
      - data/rows:
          persist: true

  train:
    foreach: ${sizes}
    do:
      cmd: python -m training.gpt.train ${item}
      deps: [data/rows]
      outs:
      - data/train-${item}
"""

CODE = {
    "assets/fetch.py": "import pyarrow\n",
    "assets/build.py": "import numpy\nimport assets.columns\n",
    "assets/columns.py": "import rdkit\n",
    "training/gpt/train.py": "import torch\nimport training.gpt.nets\n",
    "training/gpt/nets.py": "",
}

UPDATED = (
    DVC_YAML.replace("      - assets/gone.py   # no longer imported\n", "")
    .replace("  # the builder\n", "  # the builder\n      - assets/columns.py\n")
    .replace("[torch]", "[numpy, rdkit]")
    .replace("deps: [data/rows]", "deps: [data/rows, training/gpt/nets.py, training/gpt/train.py]")
    .replace("      outs:\n      - data/train", "      params:\n        - libraries.yaml: [torch]\n      outs:\n      - data/train")
)


@pytest.fixture
def graph(tmp_path):
    return write(tmp_path, {**CODE, "dvc.yaml": DVC_YAML})


def test_deps_and_libraries_are_rewritten_in_place_and_nothing_else_moves(graph):
    changes = update_deps(graph, write=True)
    assert (graph / "dvc.yaml").read_text() == UPDATED
    assert [str(change) for change in changes] == [
        "dvc.yaml: rows.deps: - assets/gone.py, + assets/columns.py",
        "dvc.yaml: rows.params: - torch, + numpy, + rdkit",
        "dvc.yaml: train.deps: + training/gpt/nets.py, + training/gpt/train.py",
        "dvc.yaml: train.params: + torch",
    ]


def test_a_second_update_finds_nothing_to_do(graph):
    update_deps(graph, write=True)
    assert update_deps(graph, write=True) == []


def test_without_write_the_file_stays(graph):
    assert update_deps(graph, write=False) != []
    assert (graph / "dvc.yaml").read_text() == DVC_YAML


def test_a_source_stage_loses_code_deps_it_was_given(graph):
    text = UPDATED.replace("    params: [fetch]\n", "    deps: [assets/fetch.py]\n    params: [fetch, {libraries.yaml: [pyarrow]}]\n")
    (graph / "dvc.yaml").write_text(text)
    update_deps(graph, write=True)
    assert (graph / "dvc.yaml").read_text() == UPDATED


def test_a_stage_with_nothing_but_a_command_gets_both_lists_even_at_the_end_of_a_file_without_newline(tmp_path):
    write(tmp_path, {**CODE, "dvc.yaml": "stages:\n  rows:\n    cmd: python -m assets.build"})
    update_deps(tmp_path, write=True)
    assert (tmp_path / "dvc.yaml").read_text() == (
        "stages:\n  rows:\n    cmd: python -m assets.build\n    deps:\n      - assets/build.py\n      - assets/columns.py\n"
        "    params:\n      - libraries.yaml: [numpy, rdkit]\n"
    )


def test_a_folded_command_keeps_its_lines_and_the_blank_line_after_it(tmp_path):
    other = "\n  other:\n    cmd: python -m training.gpt.nets\n"
    write(tmp_path, {**CODE, "dvc.yaml": f"stages:\n  rows:\n    cmd: >-\n      python -m assets.fetch\n      --fast\n{other}"})
    update_deps(tmp_path, write=True)
    assert (tmp_path / "dvc.yaml").read_text() == (
        "stages:\n  rows:\n    cmd: >-\n      python -m assets.fetch\n      --fast\n    deps:\n      - assets/fetch.py\n"
        "    params:\n      - libraries.yaml: [pyarrow]\n\n  other:\n    cmd: python -m training.gpt.nets\n    deps:\n      - training/gpt/nets.py\n"
    )


def test_a_library_list_of_several_lines_is_recognised_and_replaced_whole(tmp_path):
    text = (
        "stages:\n  rows:\n    cmd: python -m assets.fetch\n    deps:\n      - assets/fetch.py\n    params:\n"
        "      - libraries.yaml:\n          - torch\n          - numpy\n      - rows\n"
    )
    write(tmp_path, {**CODE, "dvc.yaml": text})
    update_deps(tmp_path, write=True)
    expected = text.replace("libraries.yaml:\n          - torch\n          - numpy\n", "libraries.yaml: [pyarrow]\n")
    assert (tmp_path / "dvc.yaml").read_text() == expected


def test_paths_follow_the_working_directory_of_the_stage(tmp_path):
    write(tmp_path, {**CODE, "dvc.yaml": "stages:\n  rows:\n    wdir: data\n    cmd: python -m assets.fetch\n    outs: [rows]\n"})
    update_deps(tmp_path, write=True)
    text = (tmp_path / "dvc.yaml").read_text()
    assert "- ../assets/fetch.py\n" in text
    assert "- ../libraries.yaml: [pyarrow]\n" in text
    assert update_deps(tmp_path, write=False) == []


def test_dvc_reads_what_was_written(graph, monkeypatch):
    from dvc.repo import Repo

    update_deps(graph, write=True)
    write(graph, {"params.yaml": "fetch: 1\nrows: 2\n", "libraries.yaml": "numpy: '2'\nrdkit: '1'\ntorch: '3'\n"})
    with Repo.init(str(graph), no_scm=True) as repo:
        deps = {stage.name: sorted(str(dep) for dep in stage.deps) for stage in repo.index.stages}
    assert deps["train@1"] == ["data/rows", "libraries.yaml", "training/gpt/nets.py", "training/gpt/train.py"]
    assert deps["fetch"] == ["params.yaml"]


def test_a_command_whose_module_does_not_exist_names_stage_and_module(tmp_path):
    write(tmp_path, {"dvc.yaml": "stages:\n  rows:\n    cmd: python -m assets.nowhere\n"})
    with pytest.raises(ClosureError, match=r"dvc.yaml: rows: no module assets.nowhere .* expected assets/nowhere.py"):
        update_deps(tmp_path, write=False)


def test_broken_yaml_names_the_line(tmp_path):
    write(tmp_path, {"dvc.yaml": "stages:\n  rows: [\n"})
    with pytest.raises(ClosureError, match=r"dvc.yaml, line 3: not valid YAML"):
        update_deps(tmp_path, write=False)


def test_a_missing_dvc_yaml_says_where_to_run(tmp_path):
    with pytest.raises(ClosureError, match="run from the project root"):
        update_deps(tmp_path, write=False)


def test_deps_that_are_not_a_list_are_named(tmp_path):
    write(tmp_path, {**CODE, "dvc.yaml": "stages:\n  rows:\n    cmd: python -m assets.fetch\n    deps: data/x\n"})
    with pytest.raises(ClosureError, match="rows.deps must be a list"):
        update_deps(tmp_path, write=False)


def test_lists_shared_through_an_anchor_are_refused_rather_than_changed_for_everyone(tmp_path):
    text = (
        "stages:\n  a:\n    cmd: python -m assets.fetch\n    deps: &code\n      - assets/fetch.py\n    params:\n      - libraries.yaml: [pyarrow]\n"
        "  b:\n    cmd: python -m training.gpt.nets\n    deps: *code\n"
    )
    write(tmp_path, {**CODE, "dvc.yaml": text})
    with pytest.raises(ClosureError, match="shared through a YAML anchor"):
        update_deps(tmp_path, write=True)
    assert (tmp_path / "dvc.yaml").read_text() == text


def test_the_project_s_own_dvc_yaml_is_what_the_command_would_write(project_root):
    changes = update_deps(project_root, write=False)
    assert not changes, "run `figment deps`; it would write:\n" + "\n".join(map(str, changes))
