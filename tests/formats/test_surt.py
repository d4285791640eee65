"""Keys of addresses: what the Internet Archive's own library gives for the same ones."""

import pytest

from formats.surt import surt


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://www.Example.com:80/A/b/?z=1&a=2", "com,example)/a/b?a=2&z=1"),
        ("http://127.0.0.1:8080/x%20y/?", "1,0,0,127:8080)/x%20y"),
        ("https://a.b.example/", "example,b,a)/"),
        ("https://a.example:443/x//y/./z/../w/", "example,a)/x/y/w"),
        ("https://a.example/x?PHPSESSID=0123456789abcdef0123456789abcdef&b=2", "example,a)/x?b=2"),
        ("https://a.example/x?b=2&sid=0123456789abcdef0123456789abcdef", "example,a)/x?&b=2"),
        ("https://a.example/(S(0123456789abcdefghijklmn))/page.aspx?a=1", "example,a)/page.aspx?a=1"),
        ("https://www2.a.example/a?b=2&b=1&a", "example,a)/a?a&b=1&b=2"),
        ("https://user:pw@a.example/a", "example,a)/a"),
        ("http://bücher.example/", "example,xn--bcher-kva)/"),
        ("http://a.example/a+b?c+d=e%20f", "example,a)/a+b?c+d=e%20f"),
        ("mailto:a@b.example", "mailto:a@b.example"),
    ],
)
def test_the_key_of_an_address(url, key):
    assert surt(url) == key
