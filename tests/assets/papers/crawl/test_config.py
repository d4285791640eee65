import pytest
import yaml

from assets.papers.crawl.config import JournalPagesConfig, SourceParams
from stages.params import ParamsError, build_config

SOURCE = {"name": "letters", "page": "acs", "start": ["https://Letters.Example.net/loi"], "licence": "CC-BY-4.0"}


def config(**changes) -> JournalPagesConfig:
    section = {"contact": "somebody@figment.internal", "sources": [SOURCE]} | changes
    return build_config(JournalPagesConfig, section, where="params.yaml: journal_pages")


def source(**changes) -> SourceParams:
    return config(sources=[SOURCE | changes]).sources[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"contact": ""}, "contact must be an e-mail address or a web page"),
        ({"contact": "somebody\nX-Injected: yes@figment.internal"}, "contact must be an e-mail address"),
        ({"contact": "ask me"}, "contact must be"),
        ({"sources": []}, "sources is empty"),
        ({"sources": [SOURCE, SOURCE]}, "sources names 'letters' twice"),
        ({"sources": [SOURCE | {"page": "ascs"}]}, "page 'ascs' is not known .did you mean 'acs'"),
        ({"sources": [SOURCE | {"page": "no.such.module:parse"}]}, "page 'no.such.module:parse' cannot be imported"),
        ({"sources": [SOURCE | {"start": []}]}, "start is empty"),
        ({"sources": [SOURCE | {"start": ["file:///etc/passwd"]}]}, "expected an address with http:// or https:// and a host"),
        ({"sources": [SOURCE | {"licence": " "}]}, "licence is empty"),
        ({"sources": [SOURCE | {"name": "../letters"}]}, "must be 1 to 64 letters"),
        ({"sources": [SOURCE | {"via": "http://proxy.internal:1", "folder": "pages"}]}, "`via` cannot go with"),
        ({"sources": [SOURCE | {"via": "http://me:secret@proxy.internal:1"}]}, "via holds a password; put it into an environment variable"),
        ({"sources": [SOURCE | {"delay_s": -1}]}, "delay_s must not be negative"),
        ({"timeout_s": 0}, "timeout_s must be more than 0"),
        ({"robots": False}, "robots is not a known key"),
    ],
)
def test_what_is_wrong_is_named(changes, words):
    with pytest.raises(ParamsError, match=words):
        config(**changes)


def test_the_user_agent_says_who_to_write_to():
    two = config(contact="https://figment.internal/crawler", sources=[SOURCE, SOURCE | {"name": "other", "contact": "lab@figment.internal"}])
    assert two.user_agent() == "figment/0.1 (research crawler; https://figment.internal/crawler)"
    assert two.user_agent(two.sources[1]) == "figment/0.1 (research crawler; mailto:lab@figment.internal)"


def test_others_are_asked_only_by_somebody_who_can_be_reached():
    nobody = {"contact": "crawler@figment.example"}
    assert "reaches nobody, and source 'letters'" in config(**nobody).unreachable_contact()
    assert config(**nobody, sources=[SOURCE | {"embedded": "imaginary_letters"}]).unreachable_contact() is None
    assert config(contact="https://example.org/me").unreachable_contact() is not None
    assert config().unreachable_contact() is None


def test_hosts_are_allowed_by_name():
    own = source()
    assert own.allows("letters.example.net") and own.allows("LETTERS.example.net")
    assert not own.allows("images.example.net") and not own.allows("notletters.example.net") and not own.allows("x.letters.example.net")
    wider = source(allowed_hosts=["*.example.net"], image_hosts=["cdn.elsewhere.example"])
    assert wider.allows("letters.example.net") and wider.allows("example.net") and not wider.allows("badexample.net")
    assert wider.allows("cdn.elsewhere.example", is_image=True) and not wider.allows("cdn.elsewhere.example")


def test_what_we_serve_ourselves_needs_no_pause():
    assert config(delay_s=3).delay_of(source()) == 3
    assert config(delay_s=3).delay_of(source(delay_s=7)) == 7
    assert config(delay_s=3).delay_of(source(folder="pages")) == 0


def test_in_every_preset_a_source_costs_a_bounded_number_of_requests_bytes_and_seconds(project_root):
    found = [
        (path, yaml.safe_load(path.read_text()).get("journal_pages")) for path in [project_root / "params.yaml", *project_root.glob("presets/*.yaml")]
    ]
    bounds = [(path.name, build_config(JournalPagesConfig, section, where=path.name)) for path, section in found if section and "sources" in section]
    assert {name for name, _ in bounds} >= {"params.yaml", "demo.yaml", "shared.yaml", "paper.yaml"}
    for name, one in bounds:
        assert one.max_harvest_requests <= 20_000 and one.max_harvest_mib <= 16_384 and one.max_harvest_s <= 43_200 and one.max_body_mib <= 1024, name
