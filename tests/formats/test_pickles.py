"""Pickles read without running them: plain values come back, names are answered by the caller, and no file takes long or much."""

import io
import pickle
import struct
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.pickles import UNUSED, PickleError, read_pickle
from tests.bounded import bounded

# How protocol 2 writes bytes.
LATIN = {("_codecs", "encode"): lambda arguments: arguments[0].encode("latin-1"), ("__builtin__", "bytes"): lambda _: b""}


def read(content: bytes, answers=LATIN, **more):
    return read_pickle(io.BytesIO(content), answers, **more)


def read_or_refused(content: bytes):
    """The value, or the words of the refusal, which are few."""
    try:
        return read(content)
    except PickleError as error:
        return str(error)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=25)
@given(plain, st.sampled_from([2, 3, 4, 5]))
def test_plain_values_come_back_whatever_the_protocol(value, protocol):
    content = pickle.dumps(value, protocol=protocol)
    stream = io.BytesIO(content + b"more")
    assert read_pickle(stream, LATIN) == value
    assert stream.read() == b"more"


def test_what_is_named_is_answered_and_never_imported():
    answers = {("collections", "OrderedDict"): lambda arguments: {"made of": len(arguments)}, ("builtins", "complex"): None, ("a", "b"): 7}
    assert read(pickle.dumps(OrderedDict(x=1)), answers) == {"made of": 0, "x": 1}
    assert read(pickle.dumps([1j, {2, 3}, frozenset()]), answers) == [UNUSED, UNUSED, UNUSED]
    assert read(b"\x80\x04ca\nb\n.", answers) == 7
    with pytest.raises(PickleError, match=r"asks for posix\.system, .* nothing was run"):
        read(b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.")


def test_lists_and_dictionaries_that_hold_themselves_are_read():
    loop: list = []
    loop.append(loop)
    found = read(pickle.dumps(loop))
    assert found[0] is found


def test_references_to_the_outside_are_answered_or_refused():
    content = b"\x80\x02X\x01\x00\x00\x00x\x85Q."
    assert read(content, persistent=list) == ["x"]
    with pytest.raises(PickleError, match="an object outside the file"):
        read(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cut short"),
        (b"\x80\x04N", "cut short"),
        (b"\xff.", "not a readable pickle"),
        (b".", "IndexError"),
        (b"\x80\x02h\x07.", "KeyError"),
        (b"\x80\x02(N.", ""),
        (b"\x80\x02Na.", "IndexError"),
        (b"\x80\x02NNa.", "appends to what is no list"),
        (b"\x80\x02NNNs.", "sets items of what is no dictionary"),
        (b"\x80\x02N)R.", "calls what cannot be called"),
        (b"\x80\x02c_codecs\nencode\nNR.", "calls what cannot be called"),
        (b"\x80\x02c_codecs\nencode\nNb.", "tries to change"),
        (b"\x80\x04NN\x93.", "something without a name"),
        (b"I1\n.", "instruction INT"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"(icollections\nOrderedDict\n.", "instruction INST"),
    ],
)
def test_what_is_no_such_pickle_is_refused_in_words(content, words):
    if not words:
        assert read(content) is None
        return
    with pytest.raises(PickleError, match=words):
        read(content)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content):
    for start in (b"", b"\x80\x04"):
        read_or_refused(start + content)


DEEP = b")" + b"2\x86" * 100  # a tuple of two equal tuples of two equal tuples …: 300 bytes, whose hash, repr or copy takes 2^100 steps
LENGTH = struct.pack("<Q", 2**50)
HOSTILE = {
    "a key as deep as that": b"\x80\x04}" + DEEP + b"Ns.",
    "a set of it": b"\x80\x04\x8f(" + DEEP + b"\x90.",
    "a frozen set of it": b"\x80\x04(" + DEEP + b"\x91.",
    "a name of it": b"\x80\x04" + DEEP + b"N\x93.",
    "a call of it": b"\x80\x04" + DEEP + b"2R.",
    "a state of it": b"\x80\x04" + DEEP + b"2b.",
    "a reference of it": b"\x80\x04" + DEEP + b"Q.",
    "a memo with four billion places": b"\x80\x04Nr\xff\xff\xff\xff.",
    "a frame of a petabyte": b"\x80\x04\x95" + LENGTH + b"N.",
    "bytes of a petabyte": b"\x80\x04\x8e" + LENGTH + b"N.",
    "a byte array of a petabyte": b"\x80\x05\x96" + LENGTH + b"N.",
    "a text of a petabyte": b"\x80\x04\x8d" + LENGTH + b"N.",
    "text of four gigabytes": b"\x80\x02X\xff\xff\xff\xff.",
    "a number of two gigabytes": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    "a number of many digits": b"\x80\x02L" + b"9" * 2_000_000 + b"L\n.",
    "a fraction of many digits": b"\x80\x02F" + b"9" * 2_000_000 + b"\n.",
    "an endless row of lists": b"\x80\x02" + b"]" * 510_000 + b".",
    "lists in lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "a name without end": b"\x80\x02c" + b"a" * 2_000_000 + b"\nb\n.",
    "the same list added to itself": b"\x80\x02]q\x00(" + b"h\x00" * 1000 + b"e" + b"(h\x00e" * 1000 + b".",
    "keys that all have one hash": b"\x80\x02}("
    + b"".join(b"\x8a\x11" + (k * (2**61 - 1)).to_bytes(17, "little") + b"N" for k in range(50_000))
    + b"u.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_takes_neither_long_nor_much(content):
    with bounded(seconds=8, mib=400):
        found = read_or_refused(content)
    if isinstance(found, str):
        assert 20 < len(found) < 500
    else:
        assert isinstance(found, (list, dict)) or found is UNUSED or found is None
