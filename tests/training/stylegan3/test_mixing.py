"""Sheets of mixed styles: which layer comes from whom, where the originals stand, and what is wrong is said."""

import numpy
import pytest
import torch

from tests.training.stylegan3.model_folder import write_model
from training.gans.drawing import DrawingError
from training.gans.grids import load_picture
from training.stylegan3 import load_generator
from training.stylegan3.mixing import main, mixing_sheet
from training.stylegan3.styles import draw_styles, seed_styles

SIDE = 16


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("data"))


def cells(sheet):
    rows, columns = sheet.shape[0] // SIDE, sheet.shape[1] // SIDE
    return sheet.reshape(rows, SIDE, columns, SIDE, 3).transpose(0, 2, 1, 3, 4).astype(int)


def test_originals_stand_at_the_edges_and_mixtures_between(model):
    generator = load_generator(model)
    rows, columns = seed_styles(generator, [1, 2]), seed_styles(generator, [3, 4, 5])
    sheet = cells(mixing_sheet(generator, rows, columns, [0, 1, 2], batch=4))
    assert sheet.shape[:2] == (3, 4) and (sheet[0, 0] == 255).all()
    mixed = rows[1:].clone()
    mixed[:, :3] = columns[2:, :3]
    for place, ws in (((0, 1), columns[:1]), ((2, 0), rows[1:]), ((2, 3), mixed)):
        (expected,) = draw_styles(generator, ws, batch=1)
        assert numpy.abs(sheet[place] - expected.transpose(1, 2, 0)).max() <= 1
    assert numpy.abs(sheet[2, 3] - sheet[2, 0]).max() > 3


def test_all_styles_of_a_column_are_that_column(model):
    generator = load_generator(model)
    rows, columns = seed_styles(generator, [1, 2]), seed_styles(generator, [3])
    sheet = cells(mixing_sheet(generator, rows, columns, range(generator.config.num_ws)))
    assert numpy.abs(sheet[1, 1] - sheet[0, 1]).max() <= 1 and numpy.abs(sheet[2, 1] - sheet[0, 1]).max() <= 1


def test_a_style_that_is_not_there_is_named(model):
    generator = load_generator(model)
    ws = torch.zeros(1, generator.config.num_ws, generator.config.w_dim)
    with pytest.raises(DrawingError, match=r"the styles of a picture are 0 to 5; expected some of them, found 4, 9"):
        mixing_sheet(generator, ws, ws, [4, 9])


def test_the_program_writes_the_sheet(model, tmp_path, capsys):
    words = ["--data", str(model.parent), "--row-seeds", "85,100", "--col-seeds", "55", "--out", str(tmp_path / "out/mixing.png")]
    assert main([*words, "--col-styles", "0-3", "--psi", "0.7"]) == 0
    assert load_picture(tmp_path / "out/mixing.png").shape == (3 * SIDE, 2 * SIDE, 3)
    assert main([*words, "--col-styles", "0-6"]) == 1 and "the styles of a picture are 0 to 5" in capsys.readouterr().err
    assert main([*words, "--col-styles", "x"]) == 2 and "seeds must look like" in capsys.readouterr().err
    assert main([*words, "--col-styles", "0", "--class", "1"]) == 1 and "trained without labels" in capsys.readouterr().err
