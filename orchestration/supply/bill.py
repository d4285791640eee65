"""A software bill of materials of what is installed here, in CycloneDX 1.6 (ECMA-424), from what the packages say of themselves.

Equal environments give equal bytes: no time and no random number is in it.
"""

import importlib.metadata
import json
import urllib.parse
import uuid
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = "figment"
_CLASSIFIER = "License :: "
_LONGEST_LICENCE = 100


def installed() -> dict[str, Distribution]:
    """What is installed here, by its canonical name; of a package that is found twice, the one that would be imported."""
    found: dict[str, Distribution] = {}
    for distribution in importlib.metadata.distributions():
        if distribution.metadata["Name"]:
            found.setdefault(canonicalize_name(distribution.metadata["Name"]), distribution)
    return dict(sorted(found.items()))


def bill_of(packages: Mapping[str, Distribution]) -> dict[str, Any]:
    """The bill as JSON holds it."""
    components = {name: _component(name, distribution) for name, distribution in packages.items()}
    references = {name: component["bom-ref"] for name, component in components.items()}
    root = components.pop(ROOT, {"type": "application", "name": ROOT, "bom-ref": ROOT}) | {"type": "application"}
    references.setdefault(ROOT, ROOT)
    depends = [{"ref": references[name], "dependsOn": sorted(references[one] for one in _needs(found, packages))} for name, found in packages.items()]
    body = {"metadata": {"component": root}, "components": list(components.values()), "dependencies": depends}
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1, **body}


def _component(name: str, distribution: Distribution) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{urllib.parse.quote(distribution.version, safe='')}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": distribution.version, "purl": purl}
    return component | ({"licenses": licences} if (licences := _licences(distribution)) else {})


def _licences(distribution: Distribution) -> list[dict[str, Any]]:
    """An SPDX expression where the package has one, else the names it gives."""
    metadata: Any = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return [{"expression": expression}]
    names = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or () if line.startswith(_CLASSIFIER)]
    # Some put the whole text there.
    stated = (metadata.get("License") or "").strip()
    if not names and stated and "\n" not in stated and len(stated) <= _LONGEST_LICENCE:
        names = [stated]
    return [{"license": {"name": name}} for name in dict.fromkeys(names)]


def _needs(distribution: Distribution, packages: Mapping[str, Distribution]) -> Iterable[str]:
    """What it asks for, without extras, as far as that is here. Of this project its extras count as well."""
    is_root = canonicalize_name(distribution.metadata["Name"]) == ROOT
    needed = set()
    for line in distribution.requires or ():
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue  # of a release from before these were checked
        name = canonicalize_name(wanted.name)
        if name in packages and name != ROOT and (is_root or wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            needed.add(name)
    return needed
