"""Files of harvested records, served again as the OAI-PMH repository they came from.

Reads the `ListRecords` files without namespaces that arXiv harvests are kept in (*.xml), and tables with the columns id, title, abstract (*.csv).
"""

import csv
import functools
import re
from datetime import date, datetime
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, parse

from assets.demo_sites.exchange import Request, Response, error_page, text
from assets.demo_sites.oai import OaiRecord, OaiRepository


class OaiFilesSite:
    """Serves `/oai`. day: what its clock says."""

    def __init__(self, folder: Path, *, hosts: tuple[str, ...], day: datetime) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder to serve; `folder` is read from the project root")
        self.folder = folder
        self.hosts = hosts
        self._day = day
        self.skipped: list[str] = []

    def now(self) -> datetime:
        return self._day

    def respond(self, request: Request) -> Response:
        if request.path == "/robots.txt":
            return text("User-agent: *\nDisallow:\n")
        if request.path != "/oai":
            return error_page(404, "The records are at /oai?verb=ListRecords&amp;metadataPrefix=oai_dc.")
        return self._repository.answer(request.query, self._day)

    @functools.cached_property
    def _repository(self) -> OaiRepository:
        records: dict[str, OaiRecord] = {}
        for path in sorted(self.folder.iterdir()):
            if path.suffix in {".xml", ".csv"} and path.is_file() and not path.is_symlink():
                for record in self._read(path):
                    records.setdefault(record.identifier, record)
        return OaiRepository(f"Records of {self.folder.name}", f"http://{self.hosts[0]}/oai", list(records.values()))

    def _read(self, path: Path) -> list[OaiRecord]:
        """A file that cannot be read is left out and named in `skipped`; the others are served."""
        try:
            return _read_xml(path) if path.suffix == ".xml" else _read_csv(path)
        except (ParseError, ValueError, KeyError, csv.Error) as error:
            self.skipped.append(f"{path.name}: {error}")
            return []


def _read_xml(path: Path) -> list[OaiRecord]:
    found = []
    for record in parse(path).getroot().iter("record"):  # noqa: S314 - files of the user's own folder
        identifier, day = _text(record, "header/identifier"), _text(record, "metadata/date")
        fields = [(name, _text(record, f"metadata/{name}")) for name in ("title", "description", "date")]
        url = f"http://arxiv.org/abs/{identifier.rpartition(':')[2]}"
        found.append(OaiRecord(identifier, date.fromisoformat(day), (*[field for field in fields if field[1]], ("identifier", url))))
    return found


def _read_csv(path: Path) -> list[OaiRecord]:
    found = []
    with open(path, encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            fields = (("title", row["title"]), ("description", row["abstract"]), ("subject", row.get("categories") or ""))
            url = f"http://arxiv.org/abs/{row['id']}"
            stamp = date(*_year_and_month(row["id"]), 1)
            found.append(OaiRecord(f"oai:arXiv.org:{row['id']}", stamp, (*[field for field in fields if field[1]], ("identifier", url))))
    return found


def _year_and_month(arxiv_id: str) -> tuple[int, int]:
    """Identifiers of arXiv begin with both, since April 2007: 0704.0333."""
    found = re.fullmatch(r"(\d\d)(\d\d)\.\d{4,5}(v\d+)?", arxiv_id)
    if not found:
        raise ValueError(f"expected an identifier such as 0704.0333, found {arxiv_id[:40]!r}")
    return 2000 + int(found[1]), int(found[2])


def _text(record: Element, path: str) -> str:
    return record.findtext(path) or ""
