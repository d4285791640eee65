"""The last step of resolve_constraints.sh: constraints.txt and the files of hashes, of what uv resolved.

python scripts/split_hashes.py RESOLVED PAGE      PAGE: of CPU builds of torch, or a folder of them
"""

import re
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from stages.files import sha256_of

CUDA = re.compile(r"(nvidia-|cuda-|triton==)")
# Of every line: these Pythons and systems are all that is resolved for.
_PYTHONS = r"python_full_version < '3\.14' and "
EVERYWHERE = re.compile(rf"{_PYTHONS}\(sys_platform == 'darwin' or sys_platform == 'linux'\)|{_PYTHONS}")
HEADS = {
    "hashes.txt": "# constraints.txt with the SHA-256 of each file; on Linux torch is in hashes-cuda.txt or hashes-cpu.txt (docs/installing.md).\n",
    "hashes-cuda.txt": "# torch for CUDA and what it needs: pip install --require-hashes -r hashes.txt -r hashes-cuda.txt\n",
    "hashes-cpu.txt": "# torch for CPUs: pip install --require-hashes -r hashes.txt -r hashes-cpu.txt --find-links PAGE\n",
}


def split(resolved: str, cpu_hashes: list[str]) -> dict[str, str]:
    """The text of each file by its name; constraints.txt without its head."""
    entries = [entry for entry in re.split(r"\n(?=\S)", resolved.strip()) if "==" in entry]
    files = {"constraints.txt": "", **HEADS}
    versions = set()
    for entry in entries:
        name = "hashes-cuda.txt" if CUDA.match(entry) else "hashes.txt"
        if name == "hashes.txt":
            # Markers are dropped: a constraint installs nothing by itself.
            versions.add(re.split(r"[ ;\\]", entry, maxsplit=1)[0])
        kept = re.sub(r" ; *(?=\\|\n|$)", " ", EVERYWHERE.sub("", entry)) + "\n"
        if entry.startswith("torch=="):
            # One release in two builds: a requirement names one of them, and so each has a file of its own.
            version, _, hashes = kept.partition(" ")
            files["hashes-cuda.txt"] += f"{version} ; sys_platform == 'linux' {hashes.lstrip()}"
            listed = "".join(f" \\\n    --hash=sha256:{one}" for one in cpu_hashes)
            files["hashes-cpu.txt"] += f"{version}+cpu ; sys_platform == 'linux'{listed}\n"
            kept = f"{version} ; sys_platform == 'darwin' {hashes.lstrip()}"
        files[name] += kept
    if not cpu_hashes:
        del files["hashes-cpu.txt"]
    files["constraints.txt"] = "".join(f"{version}\n" for version in sorted(versions))
    return files


def cpu_builds(page: str, version: str) -> list[str]:
    """SHA-256 of the CPU builds of torch that the page, or the folder, offers for Pythons of ours."""
    wheel = re.compile(rf"torch-{re.escape(version)}\+cpu-cp31[1-3]-cp31[1-3]-[\w.]+\.whl")
    if Path(page).is_dir():
        return sorted(sha256_of(path) for path in Path(page).iterdir() if wheel.fullmatch(path.name))
    try:
        with urllib.request.urlopen(page, timeout=30) as answer:
            text = urllib.parse.unquote(answer.read(1 << 24).decode())
    except (OSError, ValueError) as error:
        print(f"{page} does not answer ({error}): hashes-cpu.txt is left as it is", file=sys.stderr)
        return []
    return sorted(set(re.findall(rf"{wheel.pattern}#sha256=([0-9a-f]{{64}})", text)))


def main(resolved: Path, page: str) -> None:
    text = resolved.read_text(encoding="utf-8")
    version = re.search(r"^torch==([\d.]+)", text, re.MULTILINE)
    files = split(text, cpu_builds(page, version[1]) if version else [])
    constraints = Path("constraints.txt")
    head = "".join(line for line in constraints.read_text(encoding="utf-8").splitlines(keepends=True) if line.startswith("#"))
    for name, content in (files | {"constraints.txt": head + files["constraints.txt"]}).items():
        Path(name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
