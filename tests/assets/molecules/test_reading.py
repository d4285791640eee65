"""Every format is read as rows; a record that cannot be read is set aside and the rest goes on."""

import gzip
import io
import json

import numpy
import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

from assets.molecules.layouts import Property
from assets.molecules.reading import read_rows, source_properties
from assets.molecules.rows import BadRow, Row, SourceError
from tests.assets.molecules.building import source


def _rows(tmp_path, name, content, **options):
    return list(read_rows(source(tmp_path / name, content=content, **options)))


def _texts(rows):
    return [(row.id, row.text) if isinstance(row, Row) else row.reason for row in rows]


@pytest.mark.parametrize("content", ["CCO a\nCC b\n", "a CCO\nb CC\n", "smiles id\nCCO a\nCC b\n", "CCO\ta\nCC\tb", "\nCCO a\n\nCC b\n"])
def test_a_smiles_file_may_have_the_id_on_either_side_and_a_header(tmp_path, content):
    assert _texts(_rows(tmp_path, "x.smi", content)) == [("a", "CCO"), ("b", "CC")]


def test_the_field_of_smiles_can_be_stated(tmp_path):
    assert _texts(_rows(tmp_path, "x.smi", "C CC\nO CO\n", smiles_column="1")) == [("C", "CC"), ("O", "CO")]
    with pytest.raises(SourceError, match="is the number of a field from 0, found 'last'"):
        _rows(tmp_path, "x.smi", "C CC\n", smiles_column="last")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_table_is_found(tmp_path, delimiter):
    content = f'iupac{delimiter}smiles{delimiter}expt{delimiter}calc\n"a{delimiter}b"{delimiter}CCO{delimiter}-5.0{delimiter}\n'
    rows = _rows(tmp_path, "x.csv", content)
    assert rows == [Row(0, f"a{delimiter}b", "smiles", "CCO", (-5.0, None))]


def test_a_table_without_header_is_read_by_column_numbers(tmp_path):
    assert _texts(_rows(tmp_path, "x.csv", '"CCO","W-1"\n"CC","W-2"\n', header=False, smiles_column="0", id_column="1")) == [
        ("W-1", "CCO"),
        ("W-2", "CC"),
    ]


def test_blanks_around_smiles_are_dropped_as_in_esol(tmp_path):
    header = "Compound ID,measured log solubility in mols per litre,smiles\n"
    assert _texts(_rows(tmp_path, "x.csv", header + "Fenfuram,-3.3,Cc1occc1 \n")) == [("Fenfuram", "Cc1occc1")]


def test_an_explicit_mapping_overrides_the_recognised_one(tmp_path):
    file = source(
        tmp_path / "x.csv", content="id,SMILES,b\n7,CC,2.5\n", smiles_column="SMILES", id_column="id", properties={"beta": Property("b", "eV")}
    )
    assert source_properties(file) == {"beta": Property("b", "eV")}
    assert list(read_rows(file)) == [Row(0, "7", "smiles", "CC", (2.5,))]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    assert _texts(_rows(tmp_path, "x.csv", b"\xef\xbb\xbfsmiles\nCC\n")) == [("", "CC")]


def test_a_row_that_is_not_text_is_set_aside(tmp_path):
    rows = _rows(tmp_path, "x.csv", b"smiles,name\nCC,a\nCO,caf\xe9\nCN,b\n")
    assert _texts(rows) == [("", "CC"), "not utf-8 text", ("", "CN")]
    assert [row.row for row in rows] == [0, 1, 2]


def test_a_stated_encoding_is_used_for_what_is_not_utf8(tmp_path):
    rows = _rows(tmp_path, "x.csv", "smiles,näme\nCC,ü\n".encode("latin-1"), encoding="latin-1", id_column="näme")
    assert _texts(rows) == [("ü", "CC")]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"smiles,n\xe4me\nCC,1\n", {}, r"source 'x' \(x.csv\): byte 8 \(0xe4\) of the first line is not UTF-8; .* set `encoding`"),
        ("smiles\nCC\n".encode("utf-16"), {}, "byte 0 begins UTF-16 text; save the file as UTF-8"),
        (b"smiles,n\xe4me\nCC,1\n", {"encoding": "latin-99"}, "encoding 'latin-99' is unknown to Python"),
        (b"", {}, "the file is empty; expected a table with a header line"),
    ],
)
def test_a_table_that_is_no_text_is_an_error_with_the_byte(tmp_path, content, options, message):
    with pytest.raises(SourceError, match=message):
        _rows(tmp_path, "x.csv", content, **options)


def test_broken_quotes_and_missing_fields_cost_only_their_rows(tmp_path):
    rows = _rows(tmp_path, "x.csv", "smiles,a,b\nCC,1,2\nCO,1\nCN,1,2\n")
    assert _texts(rows) == [("", "CC"), "number of fields differs from the header", ("", "CN")]


def test_a_quote_that_never_closes_cannot_swallow_the_memory(tmp_path):
    rows = _rows(tmp_path, "x.csv", 'smiles\nCC\n"CO\n' + "CN\n" * 100_000)
    assert ("", "CC") in _texts(rows)
    assert any(isinstance(row, BadRow) and "quote" in row.reason for row in rows)
    assert all(len(row.text) < 200_000 for row in rows)


_SDF = """first
  RDKit

  2  1  0  0  0  0  0  0  0  0999 V2000
    0.0 0.0 0.0 C   0  0
    1.0 0.0 0.0 O   0  0
  1  2  1  0
M  END
> <energy>
-1.5

> <code>
A1

$$$$
second
broken
$$$$
"""


def test_an_sdf_gives_blocks_with_their_data(tmp_path):
    rows = _rows(tmp_path, "x.sdf", _SDF, properties={"energy": Property("energy", "eV")})
    assert (rows[0].id, rows[0].form, rows[0].values) == ("first", "molblock", (-1.5,))
    assert rows[0].text.endswith("M  END\n")
    assert rows[1] == BadRow(1, "second", "no M  END line in the record")
    assert _rows(tmp_path, "x.sdf", _SDF, id_column="code")[0].id == "A1"


def test_xyz_comments_of_both_kinds_carry_id_properties_and_smiles(tmp_path):
    qm7 = "2\nid=qm7/1 energy_dft=-4.5\n C 0.0 0.0 0.0\n O +1.1 0 0\n"
    facts = json.dumps({"dft_formation_energy_per_atom_in_eV": -4.25, "smiles": "[H]O[H]"})
    file = source(tmp_path / "a.xyz", content=qm7)
    assert list(source_properties(file)) == ["energy_dft"]
    assert list(read_rows(file)) == [Row(0, "qm7/1", "xyz", "2\n\nC 0.000000 0.000000 0.000000\nO 1.100000 0.000000 0.000000\n", (-4.5,))]
    (row,) = _rows(tmp_path, "b.xyz", f"1\n{facts}\nO 0 0 0\n")
    assert row == Row(0, "", "smiles", "[H]O[H]", (-4.25,))


def test_a_damaged_xyz_record_costs_only_itself(tmp_path):
    rows = _rows(tmp_path, "x.xyz", "1\nid=a\nO 0 0 0\nrubbish\nmore rubbish\n1\nid=b\nC x 0 0\n1\nid=c\nC 0 0 0\n")
    assert [row.id if isinstance(row, Row) else row.reason for row in rows] == [
        "a",
        "expected a number of atoms",
        "an atom line is not `symbol x y z`",
        "c",
    ]


def test_something_else_called_xyz_is_an_error(tmp_path):
    with pytest.raises(SourceError, match=r"source 'x' \(x.xyz\): line 1: expected a number of atoms .*found 'smiles'"):
        _rows(tmp_path, "x.xyz", "smiles\nCC\n")


def test_the_format_is_that_of_the_name_inside_the_compression(tmp_path):
    assert _texts(_rows(tmp_path, "x.smi.gz", gzip.compress(b"CCO a\n"))) == [("a", "CCO")]
    with pytest.raises(SourceError, match="the format of 'x.dat' cannot be told from its name; set `format`"):
        _rows(tmp_path, "x.dat", "CCO\n")
    assert _texts(_rows(tmp_path, "x.dat", "CCO a\n", format="smiles")) == [("a", "CCO")]


def test_a_mat_file_that_is_not_qm7b_says_what_it_holds(tmp_path):
    scipy_io = pytest.importorskip("scipy.io", reason="scipy is not installed (extra: chem)")
    buffer = io.BytesIO()
    scipy_io.savemat(buffer, {"X": numpy.zeros((3, 23)), "y": numpy.zeros(3)})
    with pytest.raises(SourceError, match=r"not QM7b: expected variables X \[N, A, A\].* found X \[3, 23\], y \[1, 3\]"):
        _rows(tmp_path, "x.mat", buffer.getvalue())
    buffer = io.BytesIO()
    scipy_io.savemat(buffer, {"X": numpy.zeros((3, 5, 5)), "T": numpy.zeros((3, 14))})
    for broken in (b"", b"\x89HDF\r\n\x1a\n" + bytes(1_000), buffer.getvalue()[:-40]):
        with pytest.raises(SourceError, match="not a whole MATLAB v5 file"):
            _rows(tmp_path, "x.mat", broken)
