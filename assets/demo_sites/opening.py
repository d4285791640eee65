"""Find a site by the name that params.yaml uses, and serve it for the length of a block."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path

from assets.demo_sites.archive_folder import ArchiveFolderSite
from assets.demo_sites.exchange import Site
from assets.demo_sites.folder import FolderSite
from assets.demo_sites.oai_files import OaiFilesSite
from assets.demo_sites.server import serve

# The day that frozen collections say it is, so that what is made of them is the same whenever and wherever they are crawled.
FROZEN_DAY = date(2026, 1, 5)
STATE = Path(".figment") / "embedded_sites"

SITES = ("imaginary_letters", "imaginary_archive", "imaginary_gallery", "frozen_folder", "oai_files", "archive_folder")


def site_named(name: str = "", *, folder: Path | str | None = None, hosts: Sequence[str] = (), state: Path = STATE) -> Site:
    """The site `name` of SITES; without a name, the files of `folder` as they are today.

    imaginary_letters, imaginary_archive, imaginary_gallery: the journal, the archive of books and the pictures that this project makes up.
    frozen_folder: files that do not change any more; their day is always FROZEN_DAY. oai_files: harvested records in `folder`, served again as an
    OAI-PMH repository; archive_folder: PDF files in `folder`, served as the Internet Archive serves its items; both frozen, too.
    hosts: the names it answers for; what is made up has its own. state: where the edition of journal and archive is written down.
    Raises ValueError or FileNotFoundError, which say what to change.
    """
    if name and name not in SITES:
        raise ValueError(f"embedded site '{name}' is not known; there are: {', '.join(SITES)}")
    if name == "imaginary_letters":
        from assets.demo_sites.journal import ImaginaryLetters  # needs Pillow

        return ImaginaryLetters(read_edition(state))
    if name == "imaginary_archive":
        from assets.demo_sites.books import imaginary_archive

        return imaginary_archive(read_edition(state))
    if name == "imaginary_gallery":
        from assets.demo_sites.gallery import ImaginaryGallery

        return ImaginaryGallery()
    if folder is None or not str(folder):
        raise ValueError(f"embedded site '{name or 'folder'}' needs `folder`, the files to serve")
    if not hosts:
        raise ValueError(f"the folder {folder} needs a host name to be served under; it is taken from the source's `start`")
    names = tuple(dict.fromkeys(host.lower() for host in hosts))
    day = datetime.combine(FROZEN_DAY, time(4), UTC)
    if name == "archive_folder":
        return ArchiveFolderSite(Path(folder), hosts=names, day=day)
    if name == "oai_files":
        return OaiFilesSite(Path(folder), hosts=names, day=day)
    return FolderSite(Path(folder), hosts=names, day=day if name == "frozen_folder" else None)


@contextlib.contextmanager
def open_site(
    name: str = "", *, folder: Path | str | None = None, hosts: Sequence[str] = (), state: Path = STATE, log_file: Path | None = None
) -> Iterator[str]:
    """Serve a site (see site_named) on 127.0.0.1 for the length of the block; gives the address of the HTTP proxy that leads to it."""
    with serve(site_named(name, folder=folder, hosts=hosts, state=state), log_file=log_file) as running:
        yield running.proxy


def read_edition(state: Path = STATE) -> int:
    """The edition of journal and archive that this checkout serves; the first where none is written down."""
    path = state / "edition"
    try:
        words = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return 1
    if not words.isascii() or not words.isdigit() or not 1 <= int(words) <= 9_999:
        raise ValueError(f"{path}: expected the number of an edition, 1 to 9999, found {words[:40]!r}; remove the file to begin again with 1")
    return int(words)


def write_edition(edition: int, state: Path = STATE) -> None:
    state.mkdir(parents=True, exist_ok=True)
    scratch = state / "edition.new"
    scratch.write_text(f"{edition}\n", encoding="utf-8")
    scratch.replace(state / "edition")
