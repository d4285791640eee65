"""Random DVC projects, and random edits of them: of dvc.yaml, of files, of outputs, of the cache, and DVC's own commands."""

import contextlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from orchestration.bridge.cache import object_path
from tests.orchestration.bridge.toy import build

_WORDS = ("tea", "ale", "rum", "gin", "fig", "oat", "rye", "yam")


class RandomProject:
    """A project of shell commands that join what they read; `edit()` changes one thing and says what. All chance comes from `seed`."""

    def __init__(self, root: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self._number = 0
        self._stages: dict[str, dict] = {}
        self._params: dict[str, dict[str, str | list[str]]] = {}
        self._raw = ["raw/a.txt", "raw/b.txt", "raw/folder"]
        files = {"raw/a.txt": "1\n", "raw/b.txt": "2\n", "raw/folder/c.txt": "3\n", "raw/folder/d.txt": "4\n"}
        ignored = "/.figment\n/dagster-home\n/remote\n"
        self.toy = build(root, {**files, "dvc.yaml": "{}\n", "params.yaml": "{}\n", ".gitignore": ignored, ".dvcignore": ignored})
        settings = self.toy.root / ".dvc/config"
        remote = f"    remote = store\n['remote \"store\"']\n    url = {root / 'remote'}\n"
        settings.write_text(settings.read_text().replace("[cache]", f"{remote}[cache]"))
        for _ in range(self.chance.randint(3, 7)):
            self._add_stage()
        self._write()
        self._make_all()
        self._git_commit()

    # ---- the graph -------------------------------------------------------------------------------------------------------------------

    def _add_stage(self) -> str:
        name = f"s{self._number}"
        self._number += 1
        self._params[name] = {"word": self.chance.choice(_WORDS), "list": [self.chance.choice(_WORDS), "x"], "unused": "0"}
        kind = self.chance.choice(("folder", "folder", "file", "two"))
        outs: dict[str, list[str | dict]] = {
            "folder": [f"data/{name}"],
            "file": [f"data/{name}.txt"],
            "two": [f"data/{name}/first", f"data/{name}/second.txt"],
        }
        chosen: list[str | dict] = outs[kind]
        if kind == "folder" and self.chance.random() < 0.3:
            chosen = [{f"data/{name}": {"persist": True}}]
        if kind == "file" and self.chance.random() < 0.3:
            chosen = [{f"data/{name}.txt": {"cache": False}}]
        before = [path for other in self._stages for path in self._outs(other)]
        readable = [*self._raw, *before, *before]
        stage = {"deps": self._some(readable, 1, 3), "outs": chosen}
        if self.chance.random() < 0.7:
            stage["params"] = self.chance.choice(([f"{name}.word"], [name], [f"{name}.word", f"{name}.list"]))
        self._stages[name] = stage
        self._say_command(name, " ")
        return name

    def _say_command(self, name: str, blank: str) -> None:
        stage = self._stages[name]
        reads = " ".join(stage["deps"])
        word = f"echo ${{{name}.word}};" if "params" in stage and self.chance.random() < 0.5 else ""
        lines = []
        for number, out in enumerate(self._outs(name)):
            target = out if out.endswith(".txt") else f"{out}/all.txt"
            folder = Path(target).parent.as_posix()
            lines.append(f"mkdir -p {folder} && rm -f {target} && ({word} echo {number}; find {reads} -type f | sort | xargs cat) >{blank}{target}")
        stage["cmd"] = lines[0] if len(lines) == 1 else lines

    def _outs(self, name: str) -> list[str]:
        return [out if isinstance(out, str) else next(iter(out)) for out in self._stages[name]["outs"]]

    def _write(self) -> None:
        self.toy.write("dvc.yaml", yaml.safe_dump({"stages": self._stages}, sort_keys=False))
        self.toy.write("params.yaml", yaml.safe_dump(self._params, sort_keys=False))

    def _some(self, of: Iterable[str], least: int, most: int) -> list[str]:
        among = list(dict.fromkeys(of))
        return self.chance.sample(among, min(len(among), self.chance.randint(least, most)))

    def _stage(self) -> str:
        return self.chance.choice(list(self._stages))

    def _readers(self, name: str) -> list[str]:
        return [other for other, stage in self._stages.items() if set(stage["deps"]) & set(self._outs(name))]

    # ---- edits -----------------------------------------------------------------------------------------------------------------------

    def edit(self) -> str:
        """Do one random edit; what it was, in words."""
        weights = {edit: weight for edit, weight in self._edits().items() if weight}
        edit = self.chance.choices(list(weights), list(weights.values()))[0]
        return f"{edit.__name__.removeprefix('_')} {edit() or ''}".strip()

    def _edits(self) -> dict[Callable[[], str | None], int]:
        return {
            self._add_a_stage: 3 if len(self._stages) < 9 else 0,
            self._remove_a_stage: 3 if len(self._stages) > 2 else 0,
            self._edit_dependencies: 4,
            self._edit_command: 3,
            self._rename_output: 2,
            self._freeze_or_thaw: 3,
            self._edit_param: 6,
            self._edit_input: 5,
            self._remove_or_restore_input: 2,
            self._tamper_output: 6,
            self._delete_output: 5,
            self._delete_from_output: 2,
            self._touch: 4,
            self._tamper_cache: 2,
            self._lose_cache_object: 2,
            self._lose_lock_entry: 3,
            self._lose_lock: 1,
            self._older_lock: 2,
            self._git_commit: 3,
            self._git_checkout: 2,
            self._dvc_repro: 9,
            self._dvc_repro_one: 5,
            self._dvc_commit: 3,
            self._dvc_checkout: 6,
            self._dvc_push: 3,
            self._dvc_pull: 3,
            self._dvc_gc: 2,
            self._dvc_experiment: 1,
            self._make: 6,
            self._make_all: 9,
        }

    def _add_a_stage(self) -> str:
        name = self._add_stage()
        self._write()
        return name

    def _remove_a_stage(self) -> str:
        name = self._stage()
        # Its readers go on reading what lies there, as an input that nobody writes.
        self._stages.pop(name)
        self._write()
        return name

    def _edit_dependencies(self) -> str:
        name = self._stage()
        names = list(self._stages)
        before = [path for other in names[: names.index(name)] for path in self._outs(other)]
        self._stages[name]["deps"] = self._some([*self._raw, *before, *before], 1, 3)
        if self.chance.random() < 0.7:
            self._say_command(name, " ")
        self._write()
        return name

    def _edit_command(self) -> str:
        name = self._stage()
        self._say_command(name, self.chance.choice((" ", "  ", "")))
        self._write()
        return name

    def _rename_output(self) -> str:
        name = self._stage()
        old, new = self._outs(name)[-1], f"data/{name}-{self.chance.randint(0, 2)}.txt"
        if len(self._outs(name)) == 2 or old.endswith(".txt"):
            self._stages[name]["outs"][-1] = new
            for reader in self._readers(name):
                self._stages[reader]["deps"] = [new if path == old else path for path in self._stages[reader]["deps"]]
            self._say_command(name, " ")
            self._write()
        return name

    def _freeze_or_thaw(self) -> str:
        name = self._stage()
        if not self._stages[name].pop("frozen", None):
            self._stages[name]["frozen"] = True
        self._write()
        return name

    def _edit_param(self) -> str:
        name = self._stage()
        key = self.chance.choice(("word", "word", "list", "unused", "new"))
        self._params[name][key] = [self.chance.choice(_WORDS), "y"] if key == "list" else self.chance.choice(_WORDS)
        self._write()
        return f"{name}.{key}"

    def _edit_input(self) -> str:
        path = self.chance.choice(("raw/a.txt", "raw/b.txt", "raw/folder/c.txt", "raw/folder/e.txt"))
        self.toy.write(path, f"{self.chance.randint(0, 5)}\n")
        return path

    def _remove_or_restore_input(self) -> str:
        path = self.toy.root / self.chance.choice(("raw/b.txt", "raw/folder/c.txt", "raw/folder"))
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        else:
            target = path if path.suffix else path / "c.txt"
            target.parent.mkdir(exist_ok=True)
            target.write_text("3\n")
        return path.name

    def _present(self) -> list[str]:
        return [path for name in self._stages for path in self._outs(name) if (self.toy.root / path).exists()]

    def _file_in_output(self) -> Path | None:
        files = [file for path in self._present() for file in _files(self.toy.root / path)]
        return self.chance.choice(files) if files else None

    def _tamper_output(self) -> str | None:
        if file := self._file_in_output():
            target = file if self.chance.random() < 0.7 or file.parent.name == "data" else file.with_name("more.txt")
            self.toy.write(target.relative_to(self.toy.root).as_posix(), f"by hand {self.chance.randint(0, 3)}\n")
            return str(target.relative_to(self.toy.root))
        return None

    def _delete_output(self) -> str | None:
        if present := self._present():
            path = self.toy.root / self.chance.choice(present)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            return path.name
        return None

    def _delete_from_output(self) -> str | None:
        if file := self._file_in_output():
            file.unlink()
            return str(file.relative_to(self.toy.root))
        return None

    def _touch(self) -> str | None:
        if file := self._file_in_output():
            os.utime(file)
            return str(file.relative_to(self.toy.root))
        return None

    def _object(self) -> Path | None:
        """The cache object of one output file."""
        file = self._file_in_output()
        content = self.toy.project().store.content(file) if file else None
        path = object_path(self.toy.project().cache_dir, content.id) if content else None
        return path if path and path.exists() else None

    def _tamper_cache(self) -> str | None:
        if path := self._object():
            path.chmod(0o644)
            # Of what is linked to the object, the output changes with it.
            path.write_bytes(b"damage")
            return path.name
        return None

    def _lose_cache_object(self) -> str | None:
        if path := self._object():
            path.unlink()
            return path.name
        return None

    def _lose_lock_entry(self) -> str | None:
        path = self.toy.root / "dvc.lock"
        if not path.exists():
            return None
        lock = yaml.safe_load(path.read_text())
        name = self.chance.choice(list(lock["stages"]))
        del lock["stages"][name]
        self.toy.write("dvc.lock", yaml.safe_dump(lock, sort_keys=False)) if lock["stages"] else path.unlink()
        return name

    def _lose_lock(self) -> None:
        (self.toy.root / "dvc.lock").unlink(missing_ok=True)

    def _older_lock(self) -> None:
        self._run("git", "checkout", "-q", "HEAD~1", "--", "dvc.lock")

    # ---- git, DVC, the bridge --------------------------------------------------------------------------------------------------------

    def _git_commit(self) -> None:
        self._run("git", "add", "-A", ".")
        self._run("git", "commit", "-qm", "state")

    def _git_checkout(self) -> None:
        self._run("git", "checkout", "-q", "--", "dvc.lock", "params.yaml", "dvc.yaml")
        self._read_back()

    def _dvc_repro(self) -> None:
        self._dvc(lambda repo: repo.reproduce())

    def _dvc_repro_one(self) -> str:
        name, options = self._stage(), self.chance.choice(({"single_item": True}, {}, {"force": True, "single_item": True}))
        self._dvc(lambda repo: repo.reproduce(targets=[name], **options))
        return f"{name} {options}"

    def _dvc_commit(self) -> str:
        name = self._stage()
        self._dvc(lambda repo: repo.commit(target=name, force=True))
        return name

    def _dvc_checkout(self) -> None:
        self._dvc(lambda repo: repo.checkout(force=True))

    def _dvc_push(self) -> None:
        self._dvc(lambda repo: repo.push())

    def _dvc_pull(self) -> None:
        self._dvc(lambda repo: repo.pull(force=True))

    def _dvc_gc(self) -> None:
        self._dvc(lambda repo: repo.gc(workspace=True))

    def _dvc_experiment(self) -> str:
        name = self._stage()
        self._git_commit()
        with_new = self.chance.choice(_WORDS)
        self._run(sys.executable, "-m", "dvc", "exp", "run", "-q", "-f", "-n", "tried", "-S", f"{name}.word={with_new}")
        self._run("git", "checkout", "-q", "-f", "--", ".")
        self._run(sys.executable, "-m", "dvc", "exp", "apply", "-q", "tried")
        self._read_back()
        return f"{name}.word={with_new}"

    def _make(self) -> str:
        name = self._stage()
        self._tell(lambda: self.toy.make(name))
        return name

    def _make_all(self) -> None:
        for name in self.toy.project().graph.stages:
            self._tell(lambda name=name: self.toy.make(name))

    def _tell(self, action: Callable[[], object]) -> None:
        from orchestration.bridge.graph import GraphError
        from orchestration.bridge.materialize import StageFailed

        # A stage whose input is gone fails, and so does one whose entry in dvc.lock is of other outputs.
        with contextlib.suppress(StageFailed, GraphError):
            action()

    def _dvc(self, action: Callable[..., object]) -> None:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        # What DVC refuses it refuses: whatever it did until then has to be judged alike.
        with contextlib.chdir(self.toy.root), Repo(str(self.toy.root)) as repo, contextlib.suppress(DvcException):
            action(repo)

    def _run(self, *words: str) -> None:
        subprocess.run(words, cwd=self.toy.root, capture_output=True, check=False)

    def _read_back(self) -> None:
        self._stages = yaml.safe_load((self.toy.root / "dvc.yaml").read_text())["stages"]
        self._params = yaml.safe_load((self.toy.root / "params.yaml").read_text())


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
