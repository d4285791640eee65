"""Pictures: something is drawn, twice the same, whatever the input."""

import io

import numpy
import pytest

Chem = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: chem)")
Image = pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: chem)")

from training.metrics.intervals import Rate
from training.polymers import drawings
from training.polymers.drawings import draw_molecules, draw_novelty, draw_pairs, draw_requested_and_obtained


def molecules(*smiles):
    return [Chem.MolFromSmiles(text) for text in smiles]


def opened(path):
    """The picture, with its file closed again."""
    return Image.open(io.BytesIO(path.read_bytes()))


def colours(path):
    return len(opened(path).convert("RGB").getcolors(1 << 20))


def test_a_row_holds_six_molecules(tmp_path):
    draw_molecules(molecules(*["CCO"] * 7), tmp_path / "seven.png")
    draw_molecules(molecules("CCO"), tmp_path / "one.png")
    seven, one = opened(tmp_path / "seven.png"), opened(tmp_path / "one.png")
    assert (seven.width, seven.height) == (6 * one.width, 2 * one.height)
    assert colours(tmp_path / "one.png") > 2


def test_the_molecules_given_are_not_changed_by_drawing(tmp_path):
    [molecule] = molecules("*CC(*)c1ccccc1")
    draw_molecules([molecule], tmp_path / "one.png")
    assert molecule.GetNumConformers() == 0


def test_the_same_molecules_give_the_same_bytes_without_any_metadata(tmp_path):
    for name in ("one.png", "two.png"):
        draw_molecules(molecules("CCO", "c1ccccc1", "*CC*"), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert not opened(tmp_path / "one.png").text


def test_a_panel_without_a_valid_pair_says_so_instead_of_failing(tmp_path):
    draw_requested_and_obtained({"mol_wt": (numpy.arange(3.0), numpy.full(3, numpy.nan))}, tmp_path / "plot.png")
    assert colours(tmp_path / "plot.png") > 2


def test_nothing_to_draw_is_a_picture_that_says_so(tmp_path):
    draw_molecules([], tmp_path / "molecules.png")
    draw_requested_and_obtained({}, tmp_path / "plot.png")
    for name in ("molecules.png", "plot.png"):
        assert 1 < colours(tmp_path / name) < 60


def test_a_molecule_that_cannot_be_laid_out_leaves_its_place_empty(tmp_path, monkeypatch):
    lay_out = drawings.rdDepictor.Compute2DCoords

    def fail_on_benzene(molecule):
        if molecule.GetNumAtoms() == 6:
            raise RuntimeError("Pre-condition Violation")
        lay_out(molecule)

    monkeypatch.setattr(drawings.rdDepictor, "Compute2DCoords", fail_on_benzene)
    draw_molecules(molecules("CCO", "c1ccccc1", "CCN"), tmp_path / "three.png")
    assert opened(tmp_path / "three.png").width == 3 * 190


def test_a_row_holds_three_pairs_with_words_below_them(tmp_path):
    [one, other] = molecules("CCO", "CCN")
    draw_pairs([(one, other, "similarity 0.90")] * 4, tmp_path / "four.png", nothing="")
    draw_pairs([(one, other, "similarity 0.90")], tmp_path / "one.png", nothing="")
    draw_pairs([(one, other, "stereoisomer")], tmp_path / "other.png", nothing="")
    four, single = opened(tmp_path / "four.png"), opened(tmp_path / "one.png")
    assert (four.width, four.height) == (3 * single.width, 2 * single.height)
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "other.png").read_bytes()


def test_the_novelty_chart_shows_every_group_and_is_the_same_each_time(tmp_path):
    curves = {"T = 1": {10: Rate(9, 9), 100: Rate(70, 80)}, "T = 0.8": {10: Rate(0, 0), 100: Rate(1, 2)}}
    for name in ("one.png", "two.png"):
        draw_novelty(curves, tmp_path / name)
    draw_novelty({"T = 1": curves["T = 1"]}, tmp_path / "first.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "first.png").read_bytes()


def test_no_copy_and_no_sample_are_pictures_that_say_so(tmp_path):
    draw_pairs([], tmp_path / "pairs.png", nothing="no near-copy")
    draw_novelty({}, tmp_path / "novelty.png")
    draw_novelty({"T = 1": {10: Rate(0, 0)}, "T = 0.8": {}}, tmp_path / "invalid.png")
    assert (tmp_path / "invalid.png").read_bytes() == (tmp_path / "novelty.png").read_bytes()
    for name in ("pairs.png", "novelty.png"):
        assert 1 < colours(tmp_path / name) < 60
