"""Try an address before it becomes a source: which page object would read it, and what it finds. Nothing is stored.

The page is asked for as the nightly crawl would, with robots.txt, its guard and the contact of `journal_pages` in params.yaml. A saved page is read
where it lies; --url says where it came from. The table has a line for every page object that finds papers or links, the best first.

Examples:
  figment crawl try https://journal.example/toc/1/2
  figment crawl try saved.html --url https://journal.example/toc/1/2 --page rsc

exit codes: 0 something was found · 1 nothing was found, or the page cannot be had · 2 wrong usage or configuration
"""

import argparse
import os
import sys
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["try"], help="what to do: try an address")
    parser.add_argument("address", metavar="ADDRESS", help="an address, or the path of a saved page")
    parser.add_argument("--url", metavar="ADDRESS", help="the address that a saved page had")
    parser.add_argument("--page", metavar="NAME", help="try this page object alone: a name, or `module:function`")
    parser.add_argument("--contact", metavar="WHO", help="in place of journal_pages.contact, for this one request")


def run(root: Path, arguments: argparse.Namespace) -> int:
    # A saved page may lie anywhere; parameters, and functions of one's own, lie in the project.
    path = Path(arguments.address)
    address = str(path.resolve()) if path.is_file() else arguments.address
    given = {"--url": arguments.url, "--page": arguments.page, "--contact": arguments.contact}
    flags = [word for flag, value in given.items() if value for word in (flag, value)]
    os.chdir(root)
    # This process becomes the crawl's own program: this package knows nothing of pages.
    os.execv(sys.executable, [sys.executable, "-m", "assets.papers.crawl.trying", address, *flags])  # noqa: S606 - no shell is wanted
