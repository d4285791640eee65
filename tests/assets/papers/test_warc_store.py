import gzip
import io
import subprocess
import sys
import zlib
from dataclasses import replace
from datetime import UTC, datetime

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from assets.papers import warc_store
from assets.papers.warc_store import (
    Exchange,
    Place,
    WarcError,
    WarcWriter,
    cut_torn_tail,
    decode_body,
    read_exchange,
    requests_with_secrets,
    whole_records,
)

MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
ABOUT = {"software": "figment", "operator": "somebody@figment.internal"}


def exchange(url="http://letters.example/1?a=b", body=b"<p>hello</p>", status=200, **headers) -> Exchange:
    sent = (
        ("Content-Type", "text/html"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        *((name.replace("_", "-"), text) for name, text in headers.items()),
    )
    return Exchange(url, MOMENT, status, sent, body, (("User-Agent", "figment"),), ip_address="192.0.2.7")


def write(path, *exchanges) -> list[Place]:
    with WarcWriter(path, about=ABOUT) as writer:
        return [writer.write(one) for one in exchanges]


texts = st.text(st.characters(codec="latin-1", exclude_characters="\r\n:", exclude_categories=["Cc"]), min_size=1).map(str.strip).filter(bool)


@settings(max_examples=40)
@given(bodies=st.lists(st.binary(max_size=3000), min_size=1, max_size=5), header=texts)
def test_what_is_written_is_read_back(tmp_path_factory, bodies, header):
    path = tmp_path_factory.mktemp("warc") / "a.warc.gz"
    written = [exchange(f"http://letters.example/{n}", body, X_Header=header) for n, body in enumerate(bodies)]
    for place, one in zip(write(path, *written), written, strict=True):
        found = read_exchange(path, place)
        assert (found.url, found.fetched_at, found.status, found.body, found.ip_address) == (one.url, MOMENT, 200, one.body, "192.0.2.7")
        assert found.headers == one.headers


def test_warcio_reads_it_and_finds_every_digest_right(tmp_path):
    path = tmp_path / "a.warc.gz"
    bodies = [b"<p>page</p>" * 50, gzip.compress(b"packed"), b"", b"\x89PNG" + bytes(5000)]
    places = write(path, *(exchange(f"http://letters.example/{n}", body, status=404 if n == 2 else 200) for n, body in enumerate(bodies)))
    with path.open("rb") as file:
        records = ArchiveIterator(file, check_digests="raise")
        seen = []
        for record in records:
            body = record.raw_stream.read()
            seen.append((record.rec_type, record.rec_headers.get_header("WARC-Target-URI"), body, records.get_record_offset()))
            if record.rec_type == "response":
                response_id = record.rec_headers.get_header("WARC-Record-ID")
                assert record.http_headers.get_statuscode() in {"200", "404"}
            if record.rec_type == "request":
                assert record.rec_headers.get_header("WARC-Concurrent-To") == response_id
                assert record.http_headers.get_header("Host") == "letters.example"
        assert records.err_count == 0
    assert [kind for kind, *_ in seen] == ["warcinfo"] + ["response", "request"] * 4
    assert [body for kind, _, body, _ in seen if kind == "response"] == bodies
    assert [offset for kind, _, _, offset in seen if kind == "response"] == [place.offset for place in places]
    check = subprocess.run([sys.executable, "-m", "warcio.cli", "check", "-v", path], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout


def test_a_file_is_continued_without_a_second_beginning(tmp_path):
    path = tmp_path / "a.warc.gz"
    write(path, exchange("http://letters.example/1"))
    write(path, exchange("http://letters.example/2"))
    assert [record.kind for record in whole_records(path)] == ["warcinfo", "response", "request", "response", "request"]


@settings(max_examples=60)
@given(share=st.floats(0, 1), junk=st.sampled_from([b"", b"\x1f\x8b\x08\x00", bytes(40)]))
def test_a_tail_torn_anywhere_is_cut_to_the_last_whole_record(tmp_path_factory, share, junk):
    path = tmp_path_factory.mktemp("warc") / "a.warc.gz"
    write(path, *(exchange(f"http://letters.example/{n}", bytes([n]) * 400) for n in range(3)))
    whole = list(whole_records(path))
    ends = [sum(record.place) for record in whole]
    original = path.read_bytes()
    torn = original[: round(share * ends[-1])] + junk
    path.write_bytes(torn)
    # Junk may happen to be the bytes that are missing, such as the last zero of a record.
    expected = max([0, *(end for end in ends if torn[:end] == original[:end])])
    assert cut_torn_tail(path) == len(torn) - expected
    assert path.stat().st_size == expected
    assert list(whole_records(path)) == [record for record in whole if sum(record.place) <= expected]


def test_a_damaged_record_names_its_file_and_place(tmp_path):
    path = tmp_path / "a.warc.gz"
    first, second = write(path, exchange("http://letters.example/1"), exchange("http://letters.example/2", b"x" * 900))
    damaged = bytearray(path.read_bytes())
    damaged[second.offset + 60] ^= 0xFF
    path.write_bytes(damaged)
    assert read_exchange(path, first).url == "http://letters.example/1"
    with pytest.raises(WarcError, match=rf"a.warc.gz at byte {second.offset:,}: .*damage"):
        read_exchange(path, second)
    with pytest.raises(WarcError, match="cut off"):
        read_exchange(path, Place(second.offset, 10**6))
    with pytest.raises(WarcError, match="expected a response record, found WARC-Type warcinfo"):
        read_exchange(path, next(whole_records(path)).place)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.warc.gz"
    writer = WarcWriter(path, about=ABOUT)
    writer.write(exchange())
    before = path.read_bytes()
    import os

    calls = []

    def half(descriptor, data, real=os.write):
        calls.append(descriptor)
        if len(calls) == 1:
            return real(descriptor, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space left"):
        writer.write(exchange(body=b"y" * 500))
    monkeypatch.undo()
    assert path.read_bytes() == before
    writer.write(exchange("http://letters.example/after"))
    writer.close()
    assert [record.url for record in whole_records(path) if record.kind == "response"][-1] == "http://letters.example/after"


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


ENCODERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "identity": bytes}


@settings(max_examples=60)
@given(body=st.binary(max_size=5000), names=st.lists(st.sampled_from(sorted(ENCODERS)), max_size=3))
def test_content_encodings_are_undone_in_the_reverse_order(body, names):
    sent = body
    for name in names:
        sent = ENCODERS[name](sent)
    assert decode_body(sent, [("Content-Encoding", ", ".join(names))]) == body
    assert decode_body(sent, [("content-encoding", name) for name in names]) == body


def test_encodings_as_servers_really_send_them():
    assert decode_body(raw_deflate(b"bare" * 99), [("Content-Encoding", "deflate")]) == b"bare" * 99
    assert decode_body(gzip.compress(b"one") + gzip.compress(b"two"), [("Content-Encoding", "GZIP")]) == b"onetwo"
    assert decode_body(gzip.compress(b"padded") + bytes(9), [("Content-Encoding", "gzip")]) == b"padded"
    assert decode_body(b"", [("Content-Encoding", "gzip")]) == b""
    assert decode_body(b"?", [("Content-Encoding", "zstd")]) == b"?"
    for name in ("gzip", "deflate", "br"):
        with pytest.raises(WarcError, match=f"not {name}"):
            decode_body(b"plain text, whatever the header says", [("Content-Encoding", name)])


@pytest.mark.parametrize("name", ["gzip", "deflate", "br"])
def test_a_bomb_is_not_unpacked(name):
    bomb = ENCODERS[name](bytes(16 << 20))
    assert len(bomb) < 100_000
    with pytest.raises(WarcError, match="more than 1,048,576 bytes"):
        decode_body(bomb, [("Content-Encoding", name)], max_bytes=1 << 20)
    exact = ENCODERS[name](bytes(1 << 20))
    assert len(decode_body(exact, [("Content-Encoding", name)], max_bytes=1 << 20)) == 1 << 20


def test_header_lines_cannot_be_smuggled_in(tmp_path):
    path = tmp_path / "a.warc.gz"
    (place,) = write(path, exchange(X_Evil="a\r\nInjected: yes"))
    assert "Injected" not in dict(read_exchange(path, place).headers)
    with path.open("rb") as file:
        assert len(list(ArchiveIterator(io.BytesIO(file.read())))) == 3


def test_no_request_record_holds_what_lets_in(tmp_path, monkeypatch):
    secret = replace(exchange(), request_headers=(("Proxy-Authorization", "Basic cGFzcw=="), ("cookie", "cGFzcw=="), ("Accept", "*/*")))
    path = tmp_path / "a.warc.gz"
    write(path, secret)
    text = gzip.decompress(path.read_bytes())
    assert b"cGFzcw" not in text
    assert b"Accept: */*" in text
    assert requests_with_secrets(path) == 0
    # A file as earlier versions wrote it.
    old = tmp_path / "old.warc.gz"
    monkeypatch.setattr(warc_store, "_SECRETS", frozenset())
    write(old, secret, exchange(), secret)
    monkeypatch.undo()
    assert requests_with_secrets(old) == 2


def test_what_a_page_was_made_from_lies_beside_it(tmp_path):
    path = tmp_path / "a.warc.gz"
    with WarcWriter(path, about=ABOUT) as writer:
        place = writer.write(exchange(body=b"drawn"), [exchange(body=b"shell"), exchange("http://letters.example/list.js", b"script")])
    assert read_exchange(path, place).body == b"drawn"
    kinds = [record.kind for record in whole_records(path)]
    assert kinds == ["warcinfo", "response", "request", "part", "request", "part", "request"]
