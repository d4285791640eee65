"""The section archive_items: what it refuses, and how archives are asked."""

import pytest

from assets.books.harvest.config import ArchiveItemsConfig, credentials
from stages.params import ParamsError, build_config

SOURCE = {"name": "one", "licence": "CC0-1.0", "collection": "books"}
KEYS = {"IA_ACCESS_KEY_ID": "my-key", "IA_SECRET_ACCESS_KEY": "my-secret"}


def config(**values) -> ArchiveItemsConfig:
    return build_config(ArchiveItemsConfig, {"contact": "me@figment.example", "sources": [SOURCE], **values}, where="params.yaml: archive_items")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"query": "x"}, "source 'one': needs one of collection, query and identifiers, found collection and query"),
        ({"collection": ""}, "needs one of collection, query and identifiers, found none"),
        ({"collection": "books AND x"}, "a longer question is a `query`"),
        ({"collection": "", "identifiers": ["a", "../b"]}, "'../b' is not an identifier"),
        ({"max_items": 0}, "max_items must be at least 1, or null for no limit, found 0"),
        ({"licence": " "}, "licence is empty"),
        ({"name": "a/b"}, "name 'a/b' must be"),
        ({"host": "ftp://x"}, "host must be a host name"),
        ({"host": "https://x/path"}, "host must be a host name"),
        ({"host": "x", "embedded": "imaginary_archive"}, "`host` cannot go with"),
        ({"folder": "scans"}, "`folder` and `embedded: archive_folder` go together"),
        ({"embedded": "archive_folder"}, "`folder` and `embedded: archive_folder` go together"),
        ({"max_item": 1}, "did you mean 'max_items'"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(change, words):
    with pytest.raises(ParamsError) as caught:
        config(sources=[SOURCE | change])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"at_once": 5}, "at_once must be 1 to 4, which is what the archive asks of its guests, found 5"),
        ({"contact": "nobody"}, "contact must be an e-mail address or a web page"),
        ({"sources": []}, "sources is empty"),
        ({"sources": [SOURCE, SOURCE]}, "sources names 'one' twice"),
        ({"timeout_s": 0}, "timeout_s must be more than 0"),
        ({"retries": -1}, "retries must not be negative"),
        ({"prefer": "djvu"}, "prefer must be one of 'pdf', 'jp2'"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(change, words):
    with pytest.raises(ParamsError) as caught:
        config(**change)
    assert words in str(caught.value)


def test_an_archive_of_others_is_not_asked_in_nobodys_name():
    assert "'me@figment.example' reaches nobody, and source 'one' is not ours" in (config().unreachable_contact() or "")
    assert config(sources=[SOURCE | {"embedded": "imaginary_archive"}]).unreachable_contact() is None
    assert config(contact="me@uni.edu").unreachable_contact() is None


def test_what_is_asked_for():
    def question(**values):
        return config(sources=[{"name": "one", "licence": "x", **values}]).sources[0].question

    assert question(collection="MBLWHOI") == "collection:MBLWHOI AND mediatype:texts"
    assert question(query="creator:Kant") == "creator:Kant"
    assert question(identifiers=["a"]) == ""
    assert question(folder="scans", embedded="archive_folder") == "mediatype:texts"


def test_only_an_archive_of_ours_is_trusted_wherever_it_lies():
    ours = SOURCE | {"name": "ours", "embedded": "imaginary_archive"}
    both = config(sources=[SOURCE, ours])
    theirs, mine = (both.rules_for(source, "127.0.0.1:8000", "") for source in both.sources)
    # Slower than that, a file of gigabytes would take months.
    assert theirs.least_bytes_per_s == 10_000
    assert (theirs.trusted, theirs.allow_private_addresses, theirs.at_once_per_host, theirs.pause_s) == (frozenset(), False, 4, 0.2)
    assert (mine.trusted, mine.allow_private_addresses, mine.pause_s) == (frozenset({"127.0.0.1:8000"}), False, 0.0)
    assert both.sources[1].base == "http://archive.imaginary-letters.example"


def test_keys_come_from_the_surroundings_and_are_shown_to_the_archive_alone(tmp_path):
    assert credentials({}) == ""
    assert credentials(KEYS) == "LOW my-key:my-secret"
    ini = tmp_path / "ia.ini"
    ini.write_text("[s3]\naccess = other-key\nsecret = other%secret\n[cookies]\nlogged-in-user = me\n")
    assert credentials({"IA_CONFIG_FILE": str(ini)}) == "LOW other-key:other%secret"
    assert credentials(KEYS | {"IA_CONFIG_FILE": str(ini)}) == "LOW my-key:my-secret"
    rules = config().rules_for(config().sources[0], "archive.org", "LOW my-key:my-secret")
    assert rules.secret is not None
    assert rules.secret.header_for("https://ia600000.us.archive.org/1/a.pdf") == {"Authorization": "LOW my-key:my-secret"}
    assert rules.secret.header_for("https://archive.org.example.net/a.pdf") == {}
    assert "my-secret" not in repr(rules)


@pytest.mark.parametrize(
    ("surroundings", "words"),
    [
        ({"IA_ACCESS_KEY_ID": "my-key"}, "one of the two keys"),
        ({"IA_CONFIG_FILE": "/nowhere/ia.ini"}, "IA_CONFIG_FILE: /nowhere/ia.ini cannot be read"),
        (KEYS | {"IA_SECRET_ACCESS_KEY": "my-secret\r\nX: y"}, "characters that no key has"),
    ],
)
def test_keys_that_cannot_be_right_are_refused_without_being_told(surroundings, words):
    with pytest.raises(ValueError, match=words) as caught:
        credentials(surroundings)
    assert "my-secret" not in str(caught.value)


def test_a_file_of_settings_that_is_none_is_refused_without_being_shown(tmp_path):
    (tmp_path / "ia.ini").write_text("my-secret without a section\n")
    with pytest.raises(ValueError, match="cannot be read") as caught:
        credentials({"IA_CONFIG_FILE": str(tmp_path / "ia.ini")})
    assert "my-secret" not in str(caught.value)
