"""Who may import whom (docs/contributing.md), where the packages lie, and what every package says of itself. Code is read, not imported."""

import ast
import functools
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The floors, lowest first: a package imports those of lower floors and itself. Two on one floor know nothing of each other.
FLOORS = (("formats",), ("stages",), ("assets", "training"), ("orchestration",), ("app",))
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = tuple(package for floor in FLOORS for package in floor if (ROOT / package).is_dir())

# Library -> the only files and folders of the project that may import it.
ONLY_IN = {
    "av": ("formats/video.py",),
    "boto3": ("orchestration/records/lab.py", "orchestration/moving/"),
    "botocore": ("orchestration/records/lab.py",),
    "dagster": ("orchestration/",),
    "dagster_graphql": ("orchestration/",),
    "dagster_pipes": ("stages/reporting.py", "orchestration/bridge/growing_file.py"),
    "dagster_postgres": ("orchestration/records/lab.py", "orchestration/moving/"),
    "dvc": ("orchestration/bridge/dvc_remote.py", "orchestration/bridge/dvc_repo.py", "orchestration/bridge/resolve.py"),
    "dvc_data": ("orchestration/bridge/dvc_repo.py", "orchestration/bridge/resolve.py"),
    "gradio": ("app/live/",),
    "h5py": ("orchestration/export/images.py", "orchestration/imports/picture_hdf5.py"),
    "internetarchive": ("assets/books/",),
    "mlflow": (
        "training/tracking/",
        "orchestration/records/mlflow_runs.py",
        "orchestration/runs/guarded.py",
        "orchestration/moving/mlflow_tables.py",
    ),
    "psycopg2": ("orchestration/launch/shared_lock.py", "orchestration/records/lab.py"),
    "pdf2image": ("assets/books/",),
    "pypdfium2": ("assets/books/",),
    "playwright": ("assets/papers/crawl/rendering.py",),
    "rdkit": (
        "assets/molecules/",
        "formats/descriptors.py",
        "formats/polymer_smiles.py",
        "training/metrics/copies.py",
        "training/metrics/distribution.py",
        "training/metrics/molecule",
        "training/polymers/",
    ),
    "nltk": ("training/metrics/text/",),
    "rouge_score": ("training/metrics/text/",),
    "sacrebleu": ("training/metrics/text/",),
    "scrapy": ("assets/papers/crawl/",),
    "tensorboard": ("training/loop/stats_files.py",),
}
# Slow to import: never when a module is loaded whose import opens the graph, the definitions or `figment status`.
HEAVY = (
    "PIL", "av", "gradio", "h5py", "lxml", "matplotlib", "mlflow", "pandas", "rdkit", "scipy", "scrapy", "sklearn", "torch", "transformers",
    "twisted",
)  # fmt: skip
# Rooms that others on their floor may use. Every other folder of assets and training is a subject that no other subject imports.
SHARED_ROOMS = {"assets": {"images", "downloads", "demo_sites"}, "training": {"loop", "tracking", "metrics", "reports", "gans", "fine_tuning"}}
# Model folders share their family's own files, and ldm decodes with vae.
FAMILIES = {"training/polymers", "training/words"}
ALLOWED_BETWEEN_MODELS = {("training/polymers/ldm", "training/polymers/vae")}


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


ALL_FILES = [path for package in PACKAGES for path in files_of(package)]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache  # every rule asks for every file's
def imports(path: Path, *, lazy: bool = True, for_types: bool = False) -> tuple[tuple[int, str], ...]:
    """(line, dotted name) of every import of the file; with lazy=False only those that run when the file is loaded.

    for_types: also those under `if TYPE_CHECKING:`.
    """
    return tuple(_imports(path, lazy=lazy, for_types=for_types))


def _imports(path: Path, *, lazy: bool, for_types: bool) -> Iterator[tuple[int, str]]:
    pending: list[ast.AST] = [ast.parse(path.read_bytes())]
    package = relative(path).split("/")[:-1]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1], *filter(None, [node.module])] if node.level else [node.module or ""]
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not lazy:
            continue
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and not for_types:
            pending.extend(node.orelse)
            continue
        pending.extend(ast.iter_child_nodes(node))


def offences(rule) -> list[str]:
    return [f"{relative(path)}:{line} imports {name}" for path in ALL_FILES for line, name in imports(path) if rule(relative(path), name)]


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_with_a_home_is_imported_nowhere_else(library):
    homes = ONLY_IN[library]
    assert offences(lambda file, name: name.partition(".")[0] == library and not file.startswith(homes)) == []


def test_each_floor_knows_only_those_below_it():
    """The bridge is a house of its own: it imports nothing of the project but itself."""
    floor_of = {package: level for level, floor in enumerate(FLOORS) for package in floor}

    def is_upward(file: str, name: str) -> bool:
        ours, theirs = file.partition("/")[0], name.partition(".")[0]
        if file.startswith("orchestration/bridge/") and theirs in floor_of:
            return not name.startswith("orchestration.bridge")
        return theirs in floor_of and theirs != ours and floor_of[theirs] >= floor_of[ours]

    assert offences(is_upward) == []


def test_no_subject_imports_another_and_no_model_another_model():
    def subject_of(path: str) -> str | None:
        """The subject (`assets/papers`) or model (`training/polymers/gpt`) that a file or module belongs to; None for shared rooms."""
        parts = path.split("/")
        if parts[0] not in SHARED_ROOMS or len(parts) < 2 or parts[1] in SHARED_ROOMS[parts[0]] or not (ROOT / parts[0] / parts[1]).is_dir():
            return None
        family = "/".join(parts[:2])
        return "/".join(parts[:3]) if family in FAMILIES and len(parts) > 2 and (ROOT / "/".join(parts[:3])).is_dir() else family

    def is_sideways(file: str, name: str) -> bool:
        ours, theirs = subject_of(file.rpartition("/")[0]), subject_of(name.replace(".", "/"))
        if ours is None or theirs is None or ours == theirs or (ours, theirs) in ALLOWED_BETWEEN_MODELS:
            return False
        return theirs not in FAMILIES or not ours.startswith(f"{theirs}/")

    assert offences(is_sideways) == []


def test_what_subjects_share_knows_no_subject():
    """A shared room that imported one of those who use it would drag it into every other."""

    def is_downward(file: str, name: str) -> bool:
        parts, other = file.split("/"), name.split(".")
        shared = SHARED_ROOMS.get(parts[0], set())
        is_room = parts[1] in shared and other[0] == parts[0] and len(other) > 1 and (ROOT / parts[0] / other[1]).is_dir()
        return is_room and other[1] not in shared

    assert offences(is_downward) == []


def test_no_modules_import_each_other_in_a_circle():
    modules = {relative(path)[:-3].replace("/", ".").removesuffix(".__init__") for path in ALL_FILES}
    edges: dict[str, set[str]] = {}
    for path in ALL_FILES:
        name = relative(path)[:-3].replace("/", ".").removesuffix(".__init__")
        found = (imported if imported in modules else imported.rpartition(".")[0] for _, imported in imports(path, for_types=True))
        edges[name] = {imported for imported in found if imported in modules and imported != name}
    assert _circle(edges) == []


def _circle(edges: dict[str, set[str]]) -> list[str]:
    """The names of one circle, its first name again at the end; empty when there is none."""
    done: set[str] = set()
    for start in sorted(edges):
        trail, pending = [], [(start, False)]
        while pending:
            name, leaving = pending.pop()
            if leaving:
                done.add(trail.pop())
            elif name in trail:
                return [*trail[trail.index(name) :], name]
            elif name not in done:
                trail.append(name)
                pending += [(name, True), *((before, False) for before in sorted(edges[name]))]
    return []


def test_mlflow_is_never_imported_when_a_module_loads():
    early = [f"{relative(path)}:{line}" for path in ALL_FILES for line, name in imports(path, lazy=False) if name.partition(".")[0] == "mlflow"]
    assert early == []


def test_the_definitions_the_status_and_the_command_line_load_no_heavy_library(project_copy):
    """All that loading any module of orchestration imports, found by loading them: a rule that reading the code could only guess at."""
    modules = [relative(path)[:-3].replace("/", ".").removesuffix(".__init__") for path in files_of("orchestration") if path.name != "__main__.py"]
    program = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    program += f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    environment = {**os.environ, "FIGMENT_ROOT": str(project_copy)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def test_files_with_dagster_decorators_keep_their_annotations():
    """`from __future__ import annotations` breaks how Dagster inspects `context:` and `Config`."""
    postponed = {relative(path) for path in ALL_FILES if any(name == "__future__.annotations" for _, name in imports(path))}
    decorated = {relative(path) for path in ALL_FILES if any(name.partition(".")[0] == "dagster" for _, name in imports(path))}
    assert postponed & decorated == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_each_root_package_is_the_one_of_this_checkout(package):
    """A dependency that ships a module named `training` would otherwise be run in ours's place."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).resolve() == ROOT / package / "__init__.py"


def test_data_holds_no_python():
    assert sorted((ROOT / "data").rglob("*.py")) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_of_code_is_a_package_that_says_what_belongs_in_it(package):
    folders = {path.parent for path in files_of(package)}
    without = [relative(folder) for folder in sorted(folders) if not _docstring(folder / "__init__.py")]
    assert without == []


def _docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_bytes())) if path.is_file() else None


def test_every_module_says_what_it_does():
    assert [relative(path) for path in ALL_FILES if not _docstring(path)] == []


def test_every_test_folder_is_a_package():
    """Without one, a folder tests/training would be imported as `training`."""
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [relative(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_modules_are_named_after_their_subject():
    """A drawer for everything says nothing; a script's neighbour with a library's name shadows the library when the script is run by path."""
    drawers = {"base", "helpers", "misc", "util", "utils"}
    shadows = {"datasets", "tokenizers", "torch", "transformers"}
    assert [relative(path) for path in ALL_FILES if path.stem in drawers | shadows] == []


def test_no_tracked_file_names_a_place_on_someone_s_machine():
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, cwd=ROOT)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    # Put together here so that this file does not name them itself.
    places = [f"/{folder}/".encode() for folder in ("work", "root", "home", "Users")]
    found = []
    for name in filter(None, listed.stdout.split(b"\0")):
        path = ROOT / name.decode()
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content and any(place in content for place in places):
            found.append(relative(path))
    assert found == []
