"""The memo of parsed rows, and what decides that it may be used."""

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

from assets.molecules import memo as memo_module
from assets.molecules.memo import Memo, MemoWriter, row_key
from assets.molecules.standardize import Standardized

_KEYS = [row_key("smiles", text) for text in ("CCO", "OCC", "bad", "CC")]
_RESULTS = [Standardized("CCO", "", (46.0, None)), Standardized("CCO", "", (46.0, None)), "not a SMILES", Standardized("CC", "", (30.0, 1.0))]


def _write(folder, recipe="r"):
    writer = MemoWriter(folder, recipe, 2)
    writer.add(_KEYS[:3], _RESULTS[:3])
    writer.add(_KEYS[3:], _RESULTS[3:])
    writer.publish()
    writer.discard()


def test_results_come_back_as_they_were_and_others_are_unknown(tmp_path):
    _write(tmp_path)
    other = row_key("smiles", "N")
    assert Memo(tmp_path, "r").lookup([_KEYS[3], other, *_KEYS]).results == [_RESULTS[3], None, *_RESULTS]


def test_of_a_text_remembered_often_the_nearest_is_taken_and_no_batch_is_read_twice(tmp_path, monkeypatch):
    """A text that comes again and again must not send the reader back to the beginning of the memo each time."""
    writer = MemoWriter(tmp_path, "r", 0)
    batches = [[row_key("smiles", "often"), row_key("smiles", str(number))] for number in range(40)]
    for number, keys in enumerate(batches):
        writer.add(keys, [f"often, in {number}", str(number)])
    writer.publish()
    memo, read = Memo(tmp_path, "r"), []
    decode = memo_module._decode
    monkeypatch.setattr(memo_module, "_decode", lambda batch: read.append(batch) or decode(batch))
    assert [memo.lookup(keys).results for keys in batches] == [[f"often, in {number}", str(number)] for number in range(40)]
    assert len(read) == 40


def test_another_recipe_knows_nothing(tmp_path):
    _write(tmp_path)
    assert Memo(tmp_path, "other").lookup(_KEYS).results == [None] * 4
    assert Memo(tmp_path / "nothing here", "r").lookup(_KEYS).results == [None] * 4


def test_a_discarded_memo_leaves_the_old_one(tmp_path):
    _write(tmp_path)
    MemoWriter(tmp_path, "r", 2).discard()
    assert Memo(tmp_path, "r").lookup(_KEYS).results == _RESULTS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parsed.arrow", "parsed.json"]


def test_the_same_text_in_another_form_is_another_row():
    assert row_key("smiles", "C") != row_key("xyz", "C")
