"""Compilation: chosen once, told once, left for the plain path where it fails; and few shapes."""

import logging
import sys
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.loop import compiling
from training.loop.compiling import Compiled, compilations, padded, rounded, why_no_triton, why_not_compiled

CPU = torch.device("cpu")


def test_auto_compiles_nothing_on_a_cpu_and_on_does():
    assert "on a GPU only" in str(why_not_compiled("auto", CPU))
    assert why_not_compiled("off", torch.device("cuda", 0)) == "compile: off"
    assert why_not_compiled("on", CPU) is None
    plain = Compiled(abs, "loss", "auto", CPU)
    assert not plain.is_on and plain(-2) == 2


@pytest.mark.parametrize(("found", "told"), [(None, "cannot be imported"), (SimpleNamespace(__version__="2.1.0"), "2.1.0 is older than 3.3")])
def test_a_gpu_without_a_triton_that_will_do_is_told_what_to_install(monkeypatch, found, told):
    monkeypatch.setitem(sys.modules, "triton", found)
    assert told in str(why_no_triton()) and "install figment[gpu]" in str(why_no_triton())


def test_a_gpu_that_is_too_old_goes_the_plain_way_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Quadro P4000")
    plain = Compiled(abs, "loss", "auto", torch.device("cuda", 0))
    assert [plain(-1), plain(-1)] == [1, 1]
    (line,) = caplog.messages
    assert "loss: not compiled: Quadro P4000 has compute capability 6.1" in line


def test_where_the_compiler_fails_the_plain_path_goes_on_and_it_is_said_once(caplog):
    def broken(graph, inputs):
        raise RuntimeError("no C compiler\nand much more")

    compiled = Compiled(lambda x: x.sin() + 1, "loss", "on", CPU, backend=broken)
    with pytest.raises(Exception, match="no C compiler") as failure:
        compiled(torch.zeros(2))
    assert compiled.gives_up(failure.value) and not compiled.gives_up(failure.value)
    assert compiled(torch.zeros(2)).tolist() == [1.0, 1.0]
    assert not compiled.is_on and "no C compiler" in str(compiled.reason)
    (line,) = [record.message for record in caplog.records if record.name == compiling.__name__ and record.levelno >= logging.WARNING]
    assert line.startswith("loss: the compiler failed") and "compile: off" in line


def test_lack_of_memory_is_no_failure_of_the_compiler():
    compiled = Compiled(abs, "loss", "on", CPU, backend="eager")
    assert not compiled.gives_up(torch.OutOfMemoryError("tried to allocate")) and compiled.is_on
    assert not Compiled(abs, "loss", "off", CPU).gives_up(RuntimeError("its own"))


def test_twenty_lengths_need_two_compilations():
    compiled, before = Compiled(lambda x: x.cumsum(1), "sums", "on", CPU, backend="eager"), compilations()
    for length in range(8, 168, 8):
        compiled(torch.ones(2, length))
    assert 1 <= compilations() - before <= 2


@given(st.integers(1, 3000))
def test_padding_is_at_most_an_eighth_or_seven_and_sizes_are_few(size):
    assert size <= rounded(size) <= max(size + 7, size * 9 / 8) and rounded(rounded(size)) == rounded(size)
    assert rounded(size) % 8 == 0 and len({rounded(number) for number in range(size, 2 * size)}) <= 9


def test_padding_fills_what_is_named_and_leaves_the_rest():
    batch = {"labels": torch.ones(3, 9, dtype=torch.long), "pixel_values": torch.ones(3, 3, 5, 5)}
    found = padded(batch, {"labels": -100, "documents": 0}, rows=False)
    assert found["labels"].shape == (3, 16) and (found["labels"][:, 9:] == -100).all() and (found["labels"][:, :9] == 1).all()
    assert found["pixel_values"] is batch["pixel_values"]
    assert padded(batch, {"labels": -100}, rows=True)["labels"].shape == (8, 16)
