"""Look for passwords in the WARC files of a store: earlier versions wrote a proxy's into every request record. Each file is read through once."""

import json
from pathlib import Path

from assets.papers.warc_store import requests_with_secrets
from stages.files import write_file_atomically


def stored_secrets(store: Path, looked_at: Path) -> dict[str, int]:
    """Requests that hold a password, a key or a cookie, by the name of their file; files without one are left out.

    looked_at: where is remembered what was found in which file, by its path and size.
    """
    try:
        known = dict(json.loads(looked_at.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        known = {}
    found = {}
    for path in sorted(store.glob("crawl-*.warc.gz")):
        place = f"{path.resolve()} {path.stat().st_size}"
        if not isinstance(known.get(place), int):
            known[place] = requests_with_secrets(path)
        found[path.name] = known[place]
    write_file_atomically(looked_at, json.dumps(known, indent=0).encode("utf-8"))
    return {name: requests for name, requests in found.items() if requests}
