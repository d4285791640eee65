"""Write a bill of materials (CycloneDX JSON) of what is installed here, or look it up in a database of known vulnerabilities.

Nothing is asked over the network: the database is a local copy of OSV's export for PyPI,
https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip

Examples:
  figment sbom --out sbom.json
  figment sbom --check all.zip

exit codes: 0 written, nothing known · 1 vulnerabilities are known · 2 no such database
"""

import argparse
import dataclasses
import json
from pathlib import Path

from orchestration.errors import CommandError, Exit
from orchestration.terminal import print_json, table

NEEDS_PROJECT = False


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write the bill (default: standard output)")
    parser.add_argument("--check", type=Path, metavar="ZIP", help="look the packages up in this database instead")
    parser.add_argument("--json", action="store_true", help="with --check: one JSON document")


def run(root: Path, arguments: argparse.Namespace) -> int:  # noqa: ARG001 - every verb is called the same way
    from orchestration.supply.bill import bill_of, installed
    from stages.files import write_file_atomically

    packages = installed()
    if arguments.check is not None:
        return _check({name: found.version for name, found in packages.items()}, arguments.check, as_json=arguments.json)
    bill = bill_of(packages)
    if arguments.out is None:
        print_json(bill)
    else:
        write_file_atomically(arguments.out, (json.dumps(bill, indent=2, ensure_ascii=False) + "\n").encode())
        print(f"{arguments.out}: {len(bill['components']):,} components")
    return Exit.WELL


def _check(versions: dict[str, str], database: Path, *, as_json: bool) -> int:
    from orchestration.supply.vulnerabilities import DatabaseError, look_up

    try:
        found = look_up(versions, database)
    except DatabaseError as error:
        raise CommandError(str(error)) from None
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        rows = [(one.package, one.version, one.id, ", ".join(one.fixed) or "-", one.summary) for one in found.known]
        print("\n".join(table(rows, ["package", "version", "known as", "fixed in", "what"])) if rows else "nothing is known of what is installed")
        unreadable = f", {found.unreadable:,} of them unreadable" if found.unreadable else ""
        print(f"{len(versions):,} packages against {found.records:,} records{unreadable}")
    return Exit.DISAGREES if found.known else Exit.WELL
