"""Who may import whom (docs/contributing.md), where the packages lie, and what every package says of itself. Code is read, not imported."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("assets", "orchestration", "stages", "training")
ROOT = Path(__file__).resolve().parent.parent

# Library -> the only files and folders of the project that may import it.
ONLY_IN = {
    "av": ("training/common/video_file.py",),
    "dagster": ("orchestration/",),
    "dagster_graphql": ("orchestration/",),
    "dagster_pipes": ("training/common/reporting.py",),
    "dvc": ("orchestration/bridge/dvc_repo.py", "orchestration/bridge/resolve.py"),
    "dvc_data": ("orchestration/bridge/dvc_repo.py", "orchestration/bridge/resolve.py"),
    "h5py": ("orchestration/export_images.py",),
    "internetarchive": ("assets/books/",),
    "mlflow": ("training/common/tracking", "orchestration/mlflow_runs.py"),
    "pdf2image": ("assets/books/",),
    "playwright": ("assets/papers/crawl/rendering.py",),
    "rdkit": ("assets/molecules/", "training/common/smiles.py", "training/common/descriptors.py", "training/metrics/molecules", "training/polymers/"),
    "scrapy": ("assets/papers/crawl/",),
    "tensorboard": ("training/common/stats_files.py",),
}
# Package -> the packages that its files must not import.
NEVER = {
    "assets": ("orchestration",),
    "training": ("orchestration", "assets"),
    "stages": ("orchestration", "assets", "training"),
    "orchestration/bridge": ("assets", "stages", "training"),
}
# Slow to import: never when a module is loaded whose import opens the graph, the definitions or `figment status`.
HEAVY = ("PIL", "av", "h5py", "lxml", "matplotlib", "mlflow", "pandas", "rdkit", "scipy", "scrapy", "sklearn", "torch", "transformers", "twisted")
# Model folders may share their family's folder, and ldm decodes with vae.
FAMILIES = {"training/polymers"}
ALLOWED_BETWEEN_MODELS = {("training/polymers/ldm", "training/polymers/vae")}


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


ALL_FILES = [path for package in PACKAGES for path in files_of(package)]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path, *, lazy: bool = True) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of the file; with lazy=False only those that run when the file is loaded."""
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
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending.extend(node.orelse)
            continue
        pending.extend(ast.iter_child_nodes(node))


def offences(rule) -> list[str]:
    return [f"{relative(path)}:{line} imports {name}" for path in ALL_FILES for line, name in imports(path) if rule(relative(path), name)]


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_with_a_home_is_imported_nowhere_else(library):
    homes = ONLY_IN[library]
    assert offences(lambda file, name: name.partition(".")[0] == library and not file.startswith(homes)) == []


def test_orchestration_reads_assets_and_training_and_never_the_reverse():
    def is_upward(file: str, name: str) -> bool:
        return any(file.startswith(f"{folder}/") and name.partition(".")[0] in banned for folder, banned in NEVER.items())

    assert offences(is_upward) == []


def test_no_model_imports_another_model():
    def model_of(name: str) -> str | None:
        parts = name.split("/")
        depth = 3 if "/".join(parts[:2]) in FAMILIES else 2
        folder = "/".join(parts[:depth])
        return folder if (ROOT / folder).is_dir() and len(parts) >= depth and parts[0] == "training" else None

    def is_sideways(file: str, name: str) -> bool:
        ours, theirs = model_of(file.rpartition("/")[0]), model_of(name.replace(".", "/"))
        shared = {"training/common", "training/metrics", *FAMILIES}
        if None in (ours, theirs) or ours == theirs or ours in shared or theirs in shared:
            return False
        return (ours, theirs) not in ALLOWED_BETWEEN_MODELS

    assert offences(is_sideways) == []


def test_mlflow_is_never_imported_when_a_module_loads():
    early = [f"{relative(path)}:{line}" for path in ALL_FILES for line, name in imports(path, lazy=False) if name.partition(".")[0] == "mlflow"]
    assert early == []


def test_the_definitions_the_status_and_the_command_line_load_no_heavy_library():
    """All that loading any module of orchestration imports, found by loading them: a rule that reading the code could only guess at."""
    modules = [relative(path)[:-3].replace("/", ".").removesuffix(".__init__") for path in files_of("orchestration") if path.name != "__main__.py"]
    program = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    program += f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
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
