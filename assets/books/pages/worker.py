"""The process that draws the pages of one file, under limits that it takes upon itself before it opens the file.

python -m assets.books.pages.worker

It reads one JSON object from standard input: `path`, `kind`, `first` (the page to begin with) and `config`. It writes lines of JSON to standard
output: `{"pages": 12}` once; then for each page `{"page": 1, "engine": …, "png": bytes, "text": bytes}` with these bytes behind it, or
`{"page": 1, "reason": …, "words": …}`; and `{"reason": …, "words": …}` for the whole file. It writes nothing else anywhere.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any, BinaryIO

from assets.books.pages.config import BookPagesConfig
from assets.books.pages.drawing import SetAside, finish
from stages.bounded import allow_cpu, quiet_output

_LONGEST_WORDS = 300


def main() -> int:
    """Draw the pages of the job on standard input."""
    job = json.loads(sys.stdin.buffer.readline())
    config = BookPagesConfig(**job["config"])
    out = quiet_output()
    limit(config)
    try:
        with _open(Path(job["path"]), job["kind"], config) as pages:
            _say(out, {"pages": len(pages)})
            for number in range(job["first"], min(len(pages), config.max_pages) + 1):
                allow_cpu(config.seconds_per_page)
                _draw(out, pages, number, config)
    except SetAside as refusal:
        _say(out, {"reason": refusal.reason, "words": refusal.words[:_LONGEST_WORDS]})
    except MemoryError:
        _say(out, {"reason": "out_of_memory", "words": f"opening it takes more than memory_mib = {config.memory_mib:,}"})
    except Exception as error:  # noqa: BLE001 - told, as nobody reads what this process writes elsewhere
        _say(out, {"reason": "crashed", "words": f"{type(error).__name__}: {error}"[:_LONGEST_WORDS]})
    return 0


def limit(config: BookPagesConfig) -> None:
    """Bounds memory, files written by programs that draw, and, until the first page, CPU time. What exceeds them ends this process."""
    memory = config.memory_mib << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    allow_cpu(config.seconds_per_page)


def _open(path: Path, kind: str, config: BookPagesConfig) -> Any:
    # Imported here: a zip needs no PDFium, a PDF no reader of zips.
    if kind == "pdf":
        from assets.books.pages.pdf import PdfPages

        return PdfPages(path, config)
    from assets.books.pages.jp2 import Jp2Pages

    return Jp2Pages(path, config)


def _draw(out: BinaryIO, pages: Any, number: int, config: BookPagesConfig) -> None:
    try:
        drawn = pages.draw(number)
        png, text = finish(drawn.image, config), drawn.text.encode()
    except SetAside as refusal:
        _say(out, {"page": number, "reason": refusal.reason, "words": refusal.words[:_LONGEST_WORDS]})
    except MemoryError:
        _say(out, {"page": number, "reason": "out_of_memory", "words": f"it takes more than memory_mib = {config.memory_mib:,}"})
    else:
        _say(out, {"page": number, "engine": drawn.engine, "png": len(png), "text": len(text)}, png + text)


def _say(out: BinaryIO, message: dict[str, Any], body: bytes = b"") -> None:
    out.write(json.dumps(message).encode() + b"\n" + body)
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
