"""Programs in processes of their own without the price of a start: an interpreter that has imported what they need forks for each of them.

    warm.run("-m", "tests.training.run_and_die", …, imports=["training.polymers.gpt.train"])      # as subprocess.run of a fresh Python
    warm.plain("import transformers; …", folder, cwd=tmp_path)                                  # of one that does not know this project

What forks has done nothing but import: no thread of Python's and no lock is copied, unlike with the process that runs the tests, and what a program
does is seen by nobody else.

python -m tests.warm reads a request a line from its standard input, as JSON, and answers each with the exit status of the program.
"""

import atexit
import functools
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
_PLAIN = ["torch", *(f"transformers:{name}" for name in ("AutoTokenizer", "GPT2LMHeadModel", "T5ForConditionalGeneration", "pipeline"))]


def run(
    *words: str, imports: Sequence[str] = (), isolated: bool = False, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess:
    """What `python *words` does, with `-m MODULE …` or `-c CODE …`.

    imports: modules, or `module:name`, that this program and all later ones find imported. isolated: as with `python -I`, and in a process that has
    not imported this project. env: the whole environment, by default that of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = [str(Path(folder, name)) for name in ("out", "err")]
        request = {"words": words, "imports": imports, "cwd": str(cwd), "env": dict(os.environ if env is None else env), "told": told}
        server = _server(isolated)
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = server.stdout.readline()
        assert status, "the warm process is gone"
        out, err = (Path(path).read_text() if Path(path).exists() else "" for path in told)
    return subprocess.CompletedProcess(words, int(status), out, err)


def plain(code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """What `python -I -c code *arguments` does, far from the project, for programs of torch and transformers."""
    done = run("-c", code, *map(str, arguments), imports=_PLAIN, isolated=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done


@functools.cache  # one of each kind for all tests of a process
def _server(isolated: bool) -> Any:
    command = [sys.executable, *(["-I", __file__] if isolated else ["-m", "tests.warm"])]
    # What libraries keep of programs elsewhere is neither found nor left.
    home = tempfile.TemporaryDirectory()
    env = {**os.environ, **({"HF_HOME": home.name} if isolated else {})}
    server = subprocess.Popen(command, cwd=home.name if isolated else ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end() -> None:
        server.stdin.close()
        server.wait()
        server.stdout.close()
        home.cleanup()

    atexit.register(end)
    return server


def _serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        for name in request["imports"]:
            module, _, attribute = name.partition(":")
            imported = importlib.import_module(module)
            # Some packages import a name's module when it is asked for.
            assert not attribute or hasattr(imported, attribute), name
        process = os.fork()
        if process == 0:
            _become(request)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def _become(request: Mapping[str, Any]) -> NoReturn:
    """The program, from its first line to the end of the process."""
    status = 1
    try:
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        for number, path in zip((1, 2), request["told"], strict=True):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        kind, what, *rest = request["words"]
        sys.argv = [kind, *rest]
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - whatever it is, it ends here
        traceback.print_exc()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
