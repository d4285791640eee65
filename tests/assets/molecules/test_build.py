"""Building a dataset: canonical, merged, measured, split; what does not fit is set aside with its reason."""

import dataclasses
import resource
import signal

import pyarrow.parquet as pq
import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

from assets.molecules.build import BuildError, DatasetConfig, main
from assets.molecules.checks import report_checks, split_leaks
from assets.molecules.rows import SourceError
from stages.params import ParamsError, build_config
from stages.reporting import Reporter
from tests.assets.molecules.building import SMALL, build, bytes_of, rejected_of, rows_of, source

_TEN = "OCC a1\nCCO a2\nc1ccccc1O ph\nnonsense x\nCC(=O)[O-].[Na+] salt\nC1CC bad\nCN(C)(C)(C)C val\n*CC* star\n[U] u\nOc1ccccc1 ph2\n"


def test_ten_lines_become_what_a_chemist_expects(tmp_path):
    config = dataclasses.replace(SMALL, elements=["C", "N", "O"])
    facts = build(tmp_path, [source(tmp_path / "ten.smi", content=_TEN)], config=config)
    assert [(row["smiles"], row["source_ids"]) for row in rows_of(tmp_path / "molecules")] == [
        ("CCO", ["ten:a1", "ten:a2"]),
        ("Oc1ccccc1", ["ten:ph", "ten:ph2"]),
        ("CC(=O)[O-]", ["ten:salt"]),
    ]
    assert {row["text"]: row["reason"] for row in rejected_of(tmp_path / "molecules")} == {
        "nonsense": "not a SMILES",
        "C1CC": "not a SMILES",
        "CN(C)(C)(C)C": "impossible chemistry: AtomValenceException",
        "*CC*": "2 attachment points (*) instead of 0",
        "[U]": "element outside the list",
    }
    assert (facts.summary["rows_in"], facts.summary["rows"], facts.summary["rows_rejected"], facts.summary["rows_merged_into_others"]) == (
        10,
        3,
        5,
        2,
    )


def test_every_row_says_where_it_is_from_and_what_it_is(tmp_path):
    build(tmp_path, [source(tmp_path / "one.smi", content="c1ccccc1CCO x\n", licence="CC0-1.0")])
    (row,) = rows_of(tmp_path / "molecules")
    assert row["id"] == row["sha256"][:16]
    assert (row["smiles"], row["scaffold"]) == ("OCCc1ccccc1", "c1ccccc1")
    assert (row["source"], row["licence"], row["origin"]) == ("one", "CC0-1.0", "here:one.smi")
    assert row["mol_wt"] == pytest.approx(122.167)
    assert row["tpsa"] == pytest.approx(20.23)


def test_the_summary_counts_add_up_and_name_the_units(tmp_path):
    table = (
        "smiles,heat_capacity,band_gap,isotropic_polarizability,internal_energy_298K\nC,6.469,0.5048,13.21,-40.47\nN,6.316,,9.46,-56.5\nQ,1,1,1,1\n"
    )
    summary = build(tmp_path, [source(tmp_path / "qm9.csv", content=table)]).summary
    assert summary["rows_in"] == summary["rows_accepted"] + summary["rows_rejected"] == 3
    assert sum(summary["splits"]["split_random"].values()) == summary["rows"] == 2
    assert summary["units"]["band_gap"] == "hartree"
    assert [row["band_gap"] for row in rows_of(tmp_path / "molecules")] == [0.5048, None]


def test_numbers_stated_twice_become_their_median(tmp_path):
    first = source(tmp_path / "a.csv", content="iupac,smiles,expt,calc\nethanol,CCO,-5,-4\nEtOH,OCC,-6,\nalcohol,C(C)O,-100,\n")
    build(tmp_path, [first])
    (row,) = rows_of(tmp_path / "molecules")
    assert (row["hydration_free_energy"], row["hydration_free_energy_calculated"]) == (-6.0, -4.0)
    assert row["source_ids"] == ["a:EtOH", "a:alcohol", "a:ethanol"]


def test_a_molecule_of_two_sources_belongs_to_the_first(tmp_path):
    sources = [source(tmp_path / "a.smi", content="CCO\n"), source(tmp_path / "b.smi", content="OCC 7\nCC 8\n")]
    build(tmp_path, sources)
    rows = rows_of(tmp_path / "molecules")
    assert [(row["source"], row["smiles"]) for row in rows] == [("a", "CCO"), ("b", "CC")]
    assert rows[0]["source_ids"][1] == "b:7"
    assert rows[0]["source_ids"][0].startswith("a:#")


@pytest.mark.parametrize(
    ("smiles", "outcome"),
    [
        ("*CO*", "*CO*"),
        ("[*:1]CO[*:2]", "*CO*"),
        ("[1*]CO[2*]", "*CO*"),
        ("*CC(*)*", "3 attachment points (*) instead of 2"),
        ("*CC", "1 attachment points (*) instead of 2"),
        ("C*C*", "an attachment point (*) that is not an end"),
        ("*C.*C", "1 attachment points (*) instead of 2"),
        ("*CO*.[Na+]", "*CO*"),
    ],
)
def test_a_repeat_unit_has_two_ends(tmp_path, smiles, outcome):
    build(tmp_path, [source(tmp_path / "p.smi", content=f"{smiles} x\n*C* keep\n")], name="polymers")
    outcomes = [row["smiles"] for row in rows_of(tmp_path / "polymers")] + [row["reason"] for row in rejected_of(tmp_path / "polymers")]
    assert sorted(outcomes) == sorted({"*C*", outcome})


def test_a_repeat_unit_in_two_pieces_is_rejected_where_mixtures_are_kept(tmp_path):
    build(tmp_path, [source(tmp_path / "p.smi", content="*C.*C x\n*C* keep\n")], name="polymers", config=dataclasses.replace(SMALL, salts="keep"))
    assert [row["reason"] for row in rejected_of(tmp_path / "polymers")] == ["a repeat unit in several pieces"]


@pytest.mark.parametrize(("salts", "kept"), [("strip", ["CCO", "CC"]), ("keep", ["CCO.Cl", "CC"]), ("reject", ["CC"])])
def test_the_desalting_rule_decides_about_fragments(tmp_path, salts, kept):
    build(tmp_path, [source(tmp_path / "s.smi", content="Cl.CCO\nCC\n")], config=dataclasses.replace(SMALL, salts=salts))
    assert [row["smiles"] for row in rows_of(tmp_path / "molecules")] == kept


def test_sizes_are_limited_on_both_sides(tmp_path):
    config = dataclasses.replace(SMALL, min_heavy_atoms=2, max_heavy_atoms=3, max_smiles_chars=10)
    build(tmp_path, [source(tmp_path / "s.smi", content="C\nCC\nCCC\nCCCC\nCCCCCCCCCCC\n")], config=config)
    assert [row["smiles"] for row in rows_of(tmp_path / "molecules")] == ["CC", "CCC"]
    assert [row["reason"] for row in rejected_of(tmp_path / "molecules")] == [
        "too few heavy atoms",
        "too many heavy atoms",
        "SMILES longer than 10 characters",
    ]


def test_workers_do_not_change_a_byte(tmp_path, monkeypatch):
    monkeypatch.setattr("assets.molecules.parsing.ROWS_BEFORE_WORKERS", 40)
    monkeypatch.setattr("assets.molecules.parsing.BATCH_ROWS", 16)
    file = source(tmp_path / "many.smi", content="".join(f"{'C' * (index % 30 + 1)}{'O' * (index % 3)} m{index}\n" for index in range(200)))
    build(tmp_path / "one", [file])
    facts = build(tmp_path / "two", [file], workers=2)
    assert bytes_of(tmp_path / "one/molecules") == bytes_of(tmp_path / "two/molecules")
    assert facts.counts.parsed == 200


def test_when_every_row_is_rejected_the_reasons_are_counted_and_the_old_output_stays(tmp_path):
    build(tmp_path, [source(tmp_path / "good.smi", content="CC\n")])
    before = bytes_of(tmp_path / "molecules")
    with pytest.raises(BuildError, match=r"all 3 rows of bad were rejected: not a SMILES \(2\), 1 attachment points \(\*\) instead of 0 \(1\)"):
        build(tmp_path, [source(tmp_path / "bad.smi", content="QQ\n??\n*C\n")])
    assert bytes_of(tmp_path / "molecules") == before


def test_sources_that_disagree_about_a_unit_are_refused(tmp_path):
    one = source(tmp_path / "a.csv", content="smiles,d\nC,1\n", properties={"density": _property("d", "g/cm3")})
    two = source(tmp_path / "b.csv", content="smiles,d\nC,1\n", properties={"density": _property("d", "kg/m3")})
    with pytest.raises(BuildError, match="property 'density' is in g/cm3 in source 'a' but in kg/m3 in source 'b'"):
        build(tmp_path, [one, two])


def test_a_property_may_not_take_the_name_of_a_descriptor(tmp_path):
    with pytest.raises(BuildError, match="property 'tpsa' of source 'a' has the name of another column"):
        build(tmp_path, [source(tmp_path / "a.csv", content="smiles,d\nC,1\n", properties={"tpsa": _property("d", "1")})])


def test_a_line_of_ten_megabytes_is_set_aside_in_bounded_memory(tmp_path):
    big = tmp_path / "big.csv"
    big.write_bytes(b"smiles\nCC\n" + b"C" * 10_000_000 + b"\nCCC\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    build(tmp_path, [source(big)])
    assert [row["smiles"] for row in rows_of(tmp_path / "molecules")] == ["CC", "CCC"]
    (bad,) = rejected_of(tmp_path / "molecules")
    assert (bad["row"], bad["text"], bad["reason"]) == (1, "C" * 200, "line longer than 100,000 bytes")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_full_disk_leaves_the_old_dataset_and_no_debris(tmp_path):
    """The limit on file size stands in for the disk."""
    file = source(tmp_path / "many.smi", content="".join(f"{'C' * (index + 1)}\n" for index in range(60)))
    build(tmp_path, [source(tmp_path / "good.smi", content="CC\n")])
    before = bytes_of(tmp_path / "molecules")
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
        with pytest.raises(OSError):
            build(tmp_path, [file])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert bytes_of(tmp_path / "molecules") == before
    assert not list(tmp_path.glob("**/.tmp-*"))
    build(tmp_path, [file])
    assert len(rows_of(tmp_path / "molecules")) == 60


def test_a_table_without_smiles_is_named_with_its_columns(tmp_path):
    with pytest.raises(SourceError, match=r"source 'a' \(a.csv\): no column of SMILES; columns here: 'smile_s', 'y' \(did you mean 'smile_s'\?\)"):
        build(tmp_path, [source(tmp_path / "a.csv", content="smile_s,y\nC,1\n")])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"descriptors": ["mol_weight"]}, r"'mol_weight' is not a known descriptor \(did you mean '\w+'\?\)"),
        ({"descriptors": ["tpsa", "tpsa"]}, "descriptors names one twice"),
        ({"elements": ["Xx"]}, "elements: 'Xx' is not the symbol of an element"),
        ({"valid_fraction": 0.6, "test_fraction": 0.4}, "must be >= 0 and leave some for training"),
        ({"rows_per_shard": 0}, "rows_per_shard must be at least 1, found 0"),
        ({"salt": "strip"}, r"salt is not a known key \(did you mean 'salts'\?\)"),
    ],
)
def test_a_mistake_in_the_parameters_is_named(values, message):
    with pytest.raises(ParamsError, match=message):
        build_config(DatasetConfig, values, where="params.yaml: molecules")


class _Checks(Reporter):
    def __init__(self):
        self.results = {}

    def check(self, name, passed, *, severity="ERROR", **values):
        self.results[name] = passed


def test_the_checks_pass_on_a_built_dataset_and_report_unknown_licences(tmp_path):
    build(tmp_path, [source(tmp_path / "ten.smi", content=_TEN, licence="unknown")])
    reporter = _Checks()
    report_checks(tmp_path / "molecules", "molecules", reporter)
    assert reporter.results == {"licences_known": False, "no_split_leak": True, "valid_smiles": True}


def test_a_molecule_in_two_shards_and_a_scaffold_in_two_splits_are_found(tmp_path):
    build(tmp_path, [source(tmp_path / "one.smi", content="c1ccccc1CCO x\n")])
    shard = tmp_path / "molecules/molecules-00000.parquet"
    table = pq.read_table(shard)
    (split,) = table["split_scaffold"].to_pylist()
    other = table.set_column(table.schema.get_field_index("split_scaffold"), "split_scaffold", [["test" if split != "test" else "train"]])
    pq.write_table(other, tmp_path / "molecules/molecules-00001.parquet")
    assert split_leaks([shard, tmp_path / "molecules/molecules-00001.parquet"]) == (1, 0, 1)


def test_the_stage_says_where_the_sources_should_be(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("molecules: {}\n")
    assert main(["molecules"]) == 1
    assert "fetch the sources first: python -m assets.molecules.sources" in capsys.readouterr().err


def _property(column: str, unit: str):
    from assets.molecules.layouts import Property

    return Property(column, unit)
