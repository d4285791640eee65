"""Serve an embedded site until Ctrl-C, to look at it in a browser or to crawl it with other tools.

python -m assets.demo_sites imaginary_letters
python -m assets.demo_sites frozen_folder --folder ../shared/data/journals/distill --host distill.example
"""

import sys
import threading
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from assets.demo_sites.opening import SITES, site_named
from assets.demo_sites.server import serve


def main(argv: Sequence[str] | None = None) -> int:
    """Say where the site is, and serve it."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("name", choices=SITES)
    parser.add_argument("--folder", type=Path, help="the files to serve")
    parser.add_argument("--host", action="append", default=[], help="a host name to answer for, besides 127.0.0.1")
    arguments = parser.parse_args(argv)
    try:
        site = site_named(arguments.name, folder=arguments.folder, hosts=arguments.host)
    except (ValueError, FileNotFoundError) as error:
        print(f"figment: {error}", file=sys.stderr)
        return 2
    with serve(site) as running:
        try:
            # Who reads this line may interrupt before the next one.
            print(f"{running.proxy}/ in a browser shows http://{site.hosts[0]}/; as a proxy it leads to {', '.join(site.hosts)}", flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
