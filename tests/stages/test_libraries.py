import importlib.metadata

from stages.libraries import BYTE_DECIDING, installed_version


def test_every_name_in_the_table_belongs_to_the_distribution_it_names():
    known = importlib.metadata.packages_distributions()
    present = {name: distribution for name, distribution in BYTE_DECIDING.items() if name in known}
    assert present
    for name, distribution in present.items():
        assert distribution.replace("_", "-") in {found.lower().replace("_", "-") for found in known[name]}


def test_a_version_has_no_build_suffix_and_a_library_that_is_not_here_has_none(monkeypatch):
    assert installed_version("numpy") == importlib.metadata.version("numpy")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0+cpu")
    assert installed_version("torch") == "2.13.0"
    monkeypatch.undo()
    assert installed_version("no-such-library") is None
