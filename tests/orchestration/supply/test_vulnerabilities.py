"""Known vulnerabilities are found by PEP 440's order of versions, and what is damaged in the database says nothing and stops nothing."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from orchestration.supply.vulnerabilities import DatabaseError, is_affected, look_up
from tests.orchestration.cli.figment import figment


def spans(*events: dict[str, str], kind: str = "ECOSYSTEM") -> dict[str, Any]:
    return {"ranges": [{"type": kind, "events": list(events)}]}


def record(id: str, name: str, affected: dict[str, Any], **more: Any) -> bytes:
    about = {"id": id, "summary": "It\n falls", "aliases": ["CVE-1"], "affected": [{"package": {"ecosystem": "PyPI", "name": name}, **affected}]}
    return json.dumps(about | more).encode()


def database(path: Path, *contents: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"{number}.json", content)
    return path


@pytest.mark.parametrize(
    ("version", "affected", "expected"),
    [
        ("2.0", spans({"introduced": "0"}, {"fixed": "2.0"}), False),
        ("2.0rc1", spans({"introduced": "0"}, {"fixed": "2.0"}), True),
        ("2.0.post1", spans({"introduced": "0"}, {"last_affected": "2.0"}), False),
        ("2.0", spans({"introduced": "0"}, {"last_affected": "2.0"}), True),
        ("1.10", spans({"introduced": "1.9"}, {"fixed": "1.11"}), True),
        ("1.10", spans({"fixed": "1.11"}, {"introduced": "1.9"}, {"introduced": "3"}, {"fixed": "3.1"}), True),
        ("2.5", spans({"introduced": "0"}, {"fixed": "2"}, {"introduced": "3"}), False),
        ("3.5", spans({"introduced": "0"}, {"fixed": "2"}, {"introduced": "3"}), True),
        ("2.13.0+cpu", spans({"introduced": "2.13"}, {"fixed": "2.14"}), True),
        ("1!0.1", spans({"introduced": "0"}, {"fixed": "9"}), False),
        ("1.0", spans({"introduced": "0"}, kind="GIT"), False),
        ("1.0.0", {"versions": ["0.9", "1.0", "not a version"]}, True),
        ("1.0", spans({"introduced": "0"}, {"fixed": "no version"}), True),
    ],
)
def test_a_release_is_affected_where_its_place_in_the_order_says_so(version, affected, expected):
    assert is_affected(version, affected) is expected


def test_what_is_installed_is_looked_up_by_its_canonical_name(tmp_path):
    path = database(
        tmp_path / "all.zip",
        record("PYSEC-1", "Some_Package", spans({"introduced": "0"}, {"fixed": "2.0"})),
        record("PYSEC-2", "some-package", spans({"introduced": "0"}), withdrawn="2026-01-01T00:00:00Z"),
        record("PYSEC-3", "other", spans({"introduced": "0"})),
        record("PYSEC-4", "some.package", {"ranges": [{"type": "ECOSYSTEM"}]}),
        b"{ damaged",
        b"[" * 50_000,
        b"[]",
    )
    found = look_up({"some-package": "1.0", "third": "1"}, path)
    assert [(one.package, one.id, one.aliases, one.fixed, one.summary) for one in found.known] == [
        ("some-package", "PYSEC-1", ("CVE-1",), ("2.0",), "It falls")
    ]
    assert (found.records, found.unreadable) == (7, 4)


def test_the_verb_says_what_is_known_and_what_is_no_database(tmp_path, project_root):
    path = database(tmp_path / "all.zip", record("PYSEC-9", "numpy", spans({"introduced": "0"}, {"fixed": "99"})))
    answer = figment(project_root, "sbom", "--check", str(path))
    assert answer.code == 1 and "PYSEC-9" in answer.out and "99" in answer.out and "against 1 records" in answer.out
    assert figment(project_root, "sbom", "--check", str(path), "--json").json["known"][0]["package"] == "numpy"
    harmless = database(tmp_path / "harmless.zip", record("PYSEC-9", "numpy", spans({"introduced": "99"})))
    assert figment(project_root, "sbom", "--check", str(harmless)).code == 0
    (tmp_path / "no.zip").write_bytes(b"no")
    assert "fetch OSV's all.zip" in figment(project_root, "sbom", "--check", str(tmp_path / "no.zip")).err
    with pytest.raises(DatabaseError, match="holds 0 records"):
        look_up({}, database(tmp_path / "empty.zip"))
