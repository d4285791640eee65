"""What a PolyTAO learns from: which molecules, and which of their wishes are left out."""

import numpy
import pytest
import torch

from formats.molecule_tables import MoleculeTable
from training.polymers.tao.data import prompted, writable
from training.polymers.tao.prompts import PromptForm
from training.polymers.tao.tokenizer import build_tokenizer

FORM = PromptForm(("a", "b", "c"), style="tokens").fitted(numpy.array([[1.0, 2, 3], [1, 2, 3]]))
TOKENIZER = build_tokenizer(["C", "O", "N"], FORM.vocabulary())


def table(smiles: list[str]) -> MoleculeTable:
    return MoleculeTable(smiles, numpy.tile([1.0, 2.0, 3.0], (len(smiles), 1)), ("a", "b", "c"), {})


def wishes(batch: dict[str, torch.Tensor]) -> list[str]:
    return TOKENIZER.batch_decode(batch["input_ids"], skip_special_tokens=True)


def test_what_cannot_be_written_is_set_aside_and_counted():
    found = writable([table(["CC", "CX", "CCCC"]), table(["[Xe]", "O"])], TOKENIZER, 4)
    assert (found.smiles, found.set_aside) == (["CC", "O"], {"out_of_vocabulary": 2, "too_long": 1})
    assert found.values.shape == (2, 3) and [len(ids) for ids in found.targets] == [3, 2]


def test_wishes_are_left_out_as_often_as_was_said():
    examples = prompted(writable([table(["CO"] * 4000)], TOKENIZER, 10), FORM, TOKENIZER, condition_dropout=0.2)
    shown = wishes(examples.batch(range(4000), torch.Generator().manual_seed(0)))
    # A fifth without a wish, and of another fifth one in eight by the coins; three fifths and one in eight of a fifth with all.
    assert shown.count("") / 4000 == pytest.approx(0.2 + 0.2 / 8, abs=0.02)
    assert shown.count("<a:1><b:2><c:3>") / 4000 == pytest.approx(0.6 + 0.2 / 8, abs=0.02)
    assert {"<a:1>", "<b:2>", "<c:3>", "<a:1><c:3>"} <= set(shown)


def test_a_batch_cut_in_two_has_the_same_wishes_as_the_whole():
    examples = prompted(writable([table(["CO", "C", "N"] * 20)], TOKENIZER, 10), FORM, TOKENIZER, condition_dropout=0.3)
    whole, pieces = (torch.Generator().manual_seed(7) for _ in range(2))
    expected = wishes(examples.batch(range(60), whole))
    assert wishes(examples.batch(range(25), pieces)) + wishes(examples.batch(range(25, 60), pieces)) == expected


def test_held_out_molecules_are_asked_for_with_all_that_they_have():
    values = numpy.array([[1.0, numpy.nan, 3.0]])
    examples = prompted(writable([MoleculeTable(["CO"], values, ("a", "b", "c"), {})], TOKENIZER, 10), FORM, TOKENIZER)
    batch = examples.batch([0], torch.Generator())
    assert wishes(batch) == ["<a:1><c:3>"]
    assert TOKENIZER.decode(batch["labels"][0]) == "CO</s>"
