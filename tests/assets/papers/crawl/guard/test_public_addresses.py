from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy import Request
from scrapy.settings import Settings
from twisted.internet import defer

from assets.papers.crawl.guard.public_addresses import ALLOW_PRIVATE, TRUSTED_HOSTS, PrivateAddressError, PublicAddresses, PublicResolver
from assets.papers.crawl.refusal import Refused
from stages.addresses import is_public


def crawler(**settings: object) -> SimpleNamespace:
    return SimpleNamespace(settings=Settings(settings))


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "127.1", "0x7f000001", "2130706433", "0"])
def test_an_address_inside_ones_own_network_is_not_asked(host: str) -> None:
    guard = PublicAddresses.from_crawler(crawler())
    with pytest.raises(Refused, match="not a public address") as refused:
        guard.process_request(Request(f"http://{host}/latest/meta-data"))
    assert refused.value.kind == "private_address"


def test_names_and_public_numbers_pass_and_so_does_everything_for_whoever_says_so() -> None:
    assert PublicAddresses.from_crawler(crawler()).process_request(Request("http://journal.example/")) is None
    assert PublicAddresses.from_crawler(crawler()).process_request(Request("http://93.184.216.34/")) is None
    assert PublicAddresses.from_crawler(crawler(**{ALLOW_PRIVATE: True})).process_request(Request("http://127.0.0.1/")) is None


@given(st.ip_addresses(v=4))
def test_every_number_is_judged_as_the_address_it_is(address: object) -> None:
    def refuses(host: str) -> bool:
        try:
            PublicAddresses.from_crawler(crawler()).process_request(Request(f"http://{host}/"))
        except Refused:
            return True
        return False

    assert refuses(str(address)) is refuses(str(int(address))) is not is_public(str(address))  # type: ignore[call-overload]


def resolve(name: str, address: str, monkeypatch: pytest.MonkeyPatch, **settings: object) -> object:
    monkeypatch.setattr("scrapy.resolver.CachingThreadedResolver.getHostByName", lambda self, name, timeout=(): defer.succeed(address))
    resolver = PublicResolver.from_crawler(crawler(DNS_TIMEOUT=1, **settings), SimpleNamespace())
    results: list[object] = []
    resolver.getHostByName(name).addBoth(results.append)
    return getattr(results[0], "value", results[0])


def test_a_name_that_leads_inside_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = resolve("rebinding.example", "127.0.0.1", monkeypatch)
    assert isinstance(refused, PrivateAddressError) and "rebinding.example leads to 127.0.0.1" in str(refused)
    assert resolve("journal.example", "93.184.216.34", monkeypatch) == "93.184.216.34"


def test_the_crawls_own_proxy_may_be_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("127.0.0.1", "127.0.0.1", monkeypatch, **{TRUSTED_HOSTS: ["127.0.0.1"]}) == "127.0.0.1"
