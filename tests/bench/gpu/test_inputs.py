import numpy
import pytest
from rdkit import Chem

from bench.gpu import prepare as prepare_module
from bench.gpu.inputs import Inputs
from training.polymers.smiles_tokenizer import EOS


def test_pictures_are_drawn_padded_and_halved(inputs):
    opened = Inputs(inputs)
    large, small = (opened.pictures("toc", side).images for side in (256, 128))
    assert large.shape == (20, 3, 256, 256) and small.shape == (20, 3, 128, 128)
    boxes = large.view(20, 3, 128, 2, 128, 2).double().mean(dim=(3, 5))
    assert (boxes - small).abs().max() <= 1
    # Each is another picture, and none is white paper.
    assert len({picture.numpy().tobytes() for picture in small}) == 20 and small.double().std(dim=(1, 2, 3)).min() > 5
    assert opened.pictures("page", 64).images.shape == (4, 1, 64, 64) and opened.pictures("painting", 128).channels == 3


def test_molecules_spell_themselves_and_keep_their_properties(inputs):
    opened = Inputs(inputs)
    table = opened.molecule_table("test", ("mol_wt", "ring_count"))
    assert 5 < len(table) <= 12
    for smiles, (weight, rings) in zip(table.smiles, table.properties, strict=True):
        molecule = Chem.MolFromSmiles(smiles)
        assert Chem.MolToSmiles(molecule) == smiles and molecule.GetRingInfo().NumRings() == pytest.approx(rings, abs=1e-3)
        assert 50 < weight < 800
    assert table.units == {"mol_wt": "Da", "ring_count": "count"}


def test_random_spellings_are_of_the_same_molecule(inputs):
    opened = Inputs(inputs)
    one, many = (opened.molecules("train", ("mol_wt",), spellings=spellings) for spellings in (False, True))
    assert len(one) == len(many) and len(many.starts) > 3 * len(one.starts)
    of_third = range(many.first_spelling[2], many.first_spelling[3])
    texts = {opened.spelled(many.tokens[many.starts[place] : many.starts[place + 1]].tolist()) for place in of_third}
    assert len(texts) > 1 and len({Chem.MolToSmiles(Chem.MolFromSmiles(text)) for text in texts}) == 1
    assert many.properties.mean() == pytest.approx(0, abs=1e-5) and many.properties.std() == pytest.approx(1, abs=1e-4)


def test_splits_share_no_molecule(inputs):
    sets = [set(Inputs(inputs).molecule_table(split, ()).smiles) for split in ("train", "valid", "test")]
    assert sum(map(len, sets)) == len(set.union(*sets))


def test_documents_end_and_every_tenth_is_held_out(inputs):
    opened = Inputs(inputs)
    about = opened.about["words"]
    train, valid = (opened.documents("abstracts", split) for split in ("train", "valid"))
    assert (len(train), len(valid)) == (18, 2)
    assert all(ids[0] == about["bos"] and ids[-1] == about["eos"] for ids in train + valid)
    # As many characters as were counted, but for those that take several tokens.
    titles = opened.documents("titles", "valid")
    written = sum(len("".join(about["tokens"][token] for token in ids[1:-1])) + 1 for ids in titles)
    assert written == pytest.approx(opened.held_out_characters(), rel=0.02) and 0 < about["bits_5gram"] < 8
    assert Inputs(inputs, most=10).held_out_characters() < opened.held_out_characters()


def test_spelling_stops_at_the_end(inputs):
    opened = Inputs(inputs)
    special = opened.about["molecules"]["special_tokens"]
    first, second = opened.about["molecules"]["vocabulary"][special : special + 2]
    assert opened.spelled([special, special + 1, EOS, special]) == first + second


def test_inputs_that_would_not_travel_are_refused(inputs, monkeypatch):
    assert prepare_module.checked_bytes(inputs, 20) < prepare_module.MOST_BYTES
    monkeypatch.setattr(prepare_module, "MOST_BYTES", 1000)
    with pytest.raises(SystemExit, match="ask for fewer --pictures than 20"):
        prepare_module.checked_bytes(inputs, 20)


def test_packed_parts_come_back(tmp_path):
    from bench.gpu.inputs import packed

    arrays = packed([b"one", b"", b"three"], "x")
    assert arrays["x"].tobytes() == b"onethree" and arrays["x_starts"].tolist() == [0, 3, 3, 8]
    assert numpy.diff(arrays["x_starts"]).tolist() == [3, 0, 5]
