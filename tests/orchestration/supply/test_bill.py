"""The bill of materials holds what CycloneDX asks for, and the same environment gives the same bytes."""

import json
import re
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from orchestration.supply.bill import bill_of, installed
from tests.orchestration.cli.figment import figment

UUID = r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def assert_cyclonedx(bill: dict[str, Any]) -> None:
    """What https://cyclonedx.org/schema/bom-1.6.schema.json requires of the parts that are used, and that there are no others."""
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1) and re.fullmatch(UUID, bill["serialNumber"])
    assert set(bill) == {"bomFormat", "specVersion", "version", "serialNumber", "metadata", "components", "dependencies"}
    for component in [bill["metadata"]["component"], *bill["components"]]:
        assert component["type"] in ("application", "library") and component["name"] and component["bom-ref"]
        assert set(component) <= {"type", "name", "bom-ref", "version", "purl", "licenses"}
        # Either one SPDX expression, or licences with a name each.
        licences = component.get("licenses", [])
        assert [list(one) for one in licences] == [["expression"]] or all(list(one) == ["license"] and one["license"]["name"] for one in licences)
    for row in bill["dependencies"]:
        assert set(row) == {"ref", "dependsOn"} and len(set(row["dependsOn"])) == len(row["dependsOn"])


def test_the_bill_of_what_is_installed_is_whole_and_repeatable():
    packages = installed()
    bill = bill_of(packages)
    assert_cyclonedx(bill)
    references = [component["bom-ref"] for component in [*bill["components"], bill["metadata"]["component"]]]
    assert len(set(references)) == len(references) and "numpy" in {component["name"] for component in bill["components"]}
    assert {one for row in bill["dependencies"] for one in [row["ref"], *row["dependsOn"]]} <= set(references)
    assert all(re.fullmatch(r"pkg:pypi/[a-z0-9.-]+@\S+", component["purl"]) for component in bill["components"])
    assert json.dumps(bill_of(packages)) == json.dumps(bill)


def test_licences_and_needs_are_what_packages_say(tmp_path):
    def package(name: str, *lines: str) -> Distribution:
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines]))
        return Distribution.at(folder)

    packages = {
        "a": package("a", "License-Expression: MIT OR Apache-2.0", "Requires-Dist: B>=1", "Requires-Dist: c; extra == 'x'", "Requires-Dist: absent"),
        "b": package("b", "Classifier: License :: OSI Approved :: BSD License", "License: BSD"),
        "c": package("c", "License: " + "very long words " * 20),
    }
    bill = bill_of(packages)
    assert [component.get("licenses") for component in bill["components"]] == [
        [{"expression": "MIT OR Apache-2.0"}],
        [{"license": {"name": "BSD License"}}],
        None,
    ]
    assert [row["dependsOn"] for row in bill["dependencies"]] == [["pkg:pypi/b@1.0"], [], []]


def test_the_verb_writes_a_file(tmp_path: Path, project_root: Path):
    answer = figment(project_root, "sbom", "--out", str(tmp_path / "sbom.json"))
    assert answer.code == 0 and json.loads((tmp_path / "sbom.json").read_text())["bomFormat"] == "CycloneDX"
