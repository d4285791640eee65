"""The OAI-PMH 2.0 side of a site: records in Dublin Core, resumption tokens, deleted records.

http://www.openarchives.org/OAI/openarchivesprotocol.html. One metadata format (oai_dc), no sets, dates by the day.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from xml.sax.saxutils import escape, quoteattr

from assets.demo_sites.exchange import Response

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xsi:schemaLocation="http://www.openarchives.org/OAI/2.0/ http://www.openarchives.org/OAI/2.0/OAI-PMH.xsd">\n'
)
_DC = (
    '<oai_dc:dc xmlns:oai_dc="http://www.openarchives.org/OAI/2.0/oai_dc/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xsi:schemaLocation="http://www.openarchives.org/OAI/2.0/oai_dc/ http://www.openarchives.org/OAI/2.0/oai_dc.xsd">'
)


@dataclass(frozen=True)
class OaiRecord:
    """fields: (Dublin Core element, value) in order; None for a deleted record."""

    identifier: str
    datestamp: date
    fields: tuple[tuple[str, str], ...] | None


@dataclass(frozen=True)
class OaiRepository:
    """records: in the order in which they are listed."""

    name: str
    base_url: str
    records: Sequence[OaiRecord]
    page_size: int = 100

    def answer(self, query: Mapping[str, str], now: datetime) -> Response:
        """The response to one request, errors of the protocol included."""
        verb = query.get("verb", "")
        body = {
            "Identify": self._identify,
            "ListMetadataFormats": self._formats,
            "ListRecords": self._list,
            "ListIdentifiers": self._list,
            "GetRecord": self._get,
        }.get(verb)
        # Errors of the protocol are answers with status 200 (OAI-PMH 2.0 §3.6), without the request's arguments.
        inside = (
            body(query) if body else _error("badVerb", "The verb must be Identify, ListMetadataFormats, ListRecords, ListIdentifiers or GetRecord.")
        )
        asked = "".join(f" {name}={quoteattr(value)}" for name, value in sorted(query.items())) if "<error" not in inside else ""
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        # Weak, and without the time of the answer: an answer that differs in nothing else is the one that the asker has.
        etag = f'W/"{hashlib.sha256(inside.encode()).hexdigest()[:24]}"'
        page = f"{_HEAD}<responseDate>{stamp}</responseDate>\n<request{asked}>{escape(self.base_url)}</request>\n{inside}\n</OAI-PMH>\n"
        return Response(page.encode(), "text/xml; charset=utf-8", etag=etag)

    def _identify(self, _query: Mapping[str, str]) -> str:
        earliest = min((record.datestamp for record in self.records), default=date(1970, 1, 1))
        return (
            f"<Identify><repositoryName>{escape(self.name)}</repositoryName><baseURL>{escape(self.base_url)}</baseURL>"
            "<protocolVersion>2.0</protocolVersion><adminEmail>nobody@imaginary-letters.example</adminEmail>"
            f"<earliestDatestamp>{earliest}</earliestDatestamp><deletedRecord>persistent</deletedRecord><granularity>YYYY-MM-DD</granularity></Identify>"
        )

    def _formats(self, _query: Mapping[str, str]) -> str:
        return (
            "<ListMetadataFormats><metadataFormat><metadataPrefix>oai_dc</metadataPrefix>"
            "<schema>http://www.openarchives.org/OAI/2.0/oai_dc.xsd</schema>"
            "<metadataNamespace>http://www.openarchives.org/OAI/2.0/oai_dc/</metadataNamespace></metadataFormat></ListMetadataFormats>"
        )

    def _list(self, query: Mapping[str, str]) -> str:
        """A token is `offset!from!until`: it means the same to everybody, for as long as nothing is put in between."""
        token = query.get("resumptionToken")
        if token is not None:
            parts = token.split("!")
            if len(parts) != 3 or not parts[0].isascii() or not parts[0].isdigit():
                return _error("badResumptionToken", "This token was not given out here.")
            offset, first, last = int(parts[0]), parts[1], parts[2]
        else:
            if query.get("metadataPrefix") != "oai_dc":
                return _error("cannotDisseminateFormat" if "metadataPrefix" in query else "badArgument", "metadataPrefix must be oai_dc.")
            offset, first, last = 0, query.get("from", ""), query.get("until", "")
        # Dates are texts of one length, so that comparing them as texts compares days.
        chosen = [record for record in self.records if (not first or str(record.datestamp) >= first) and (not last or str(record.datestamp) <= last)]
        if offset >= len(chosen):
            return (
                _error("badResumptionToken", "The list ended before this token.")
                if offset
                else _error("noRecordsMatch", "There are none of that kind.")
            )
        verb = query["verb"]
        page = "\n".join(_record(record, with_metadata=verb == "ListRecords") for record in chosen[offset : offset + self.page_size])
        following = offset + self.page_size
        more = f"{following}!{first}!{last}" if following < len(chosen) else ""
        is_split = offset or more
        mark = f'<resumptionToken completeListSize="{len(chosen)}" cursor="{offset}">{escape(more)}</resumptionToken>' if is_split else ""
        return f"<{verb}>\n{page}\n{mark}</{verb}>"

    def _get(self, query: Mapping[str, str]) -> str:
        if query.get("metadataPrefix") != "oai_dc" or "identifier" not in query:
            return _error("badArgument", "GetRecord needs identifier and metadataPrefix=oai_dc.")
        found = next((record for record in self.records if record.identifier == query["identifier"]), None)
        return f"<GetRecord>{_record(found, with_metadata=True)}</GetRecord>" if found else _error("idDoesNotExist", "No record has this identifier.")


def _record(record: OaiRecord, *, with_metadata: bool) -> str:
    status = ' status="deleted"' * (record.fields is None)
    header = f"<header{status}><identifier>{escape(record.identifier)}</identifier><datestamp>{record.datestamp}</datestamp></header>"
    if not with_metadata:
        return header
    if record.fields is None:
        return f"<record>{header}</record>"
    fields = "".join(f"<dc:{name}>{escape(value)}</dc:{name}>" for name, value in record.fields)
    return f"<record>{header}<metadata>{_DC}{fields}</oai_dc:dc></metadata></record>"


def _error(code: str, words: str) -> str:
    return f'<error code="{code}">{words}</error>'
