"""Reports on molecules: from samples and tables to numbers, tables and pictures, twice the same."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Chem = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")
from rdkit.Chem.Scaffolds import MurckoScaffold

pytest.importorskip("torch", reason="torch is not installed (extra: model)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: chem)")

from formats.descriptors import DESCRIPTORS
from stages.artifact_id import content_id
from tests.training.conftest import RecordingReporter
from training.metrics import fcd
from training.polymers import report
from training.polymers.report import MoleculeReportConfig

REAL = ("CCO", "CCN", "CCC", "c1ccccc1O", "CC(=O)O", "c1ccc2ccccc2c1", "CCCCN", "OCCO", "CC(C)O", "NCCO", "c1ccncc1", "CCOC(C)=O")


def write_table(folder: Path, smiles, **more_columns):
    """A dataset of which every third molecule is held out."""
    folder.mkdir(parents=True)
    canonical = [Chem.MolToSmiles(Chem.MolFromSmiles(text)) for text in smiles]
    splits = ["test" if index % 3 == 2 else "train" for index in range(len(canonical))]
    weights = [DESCRIPTORS["mol_wt"].measure(Chem.MolFromSmiles(text)) for text in canonical]
    scaffolds = [MurckoScaffold.MurckoScaffoldSmiles(text) for text in canonical]
    columns = {"smiles": canonical, "scaffold": scaffolds, "split_random": splits, "split_scaffold": splits, "mol_wt": weights, **more_columns}
    pq.write_table(pa.table(columns), folder / f"{folder.name}-00000.parquet")


def write_samples(data: Path, rows, **extra_columns):
    """rows: (mode, temperature, smiles, finished)."""
    modes, temperatures, smiles, finished = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    folder = data / "samples"
    folder.mkdir(parents=True)
    columns = {
        "index": pa.array(range(len(rows)), pa.int64()),
        "mode": pa.array(modes, pa.string()),
        "temperature": pa.array(temperatures, pa.float64()),
        "smiles": pa.array(smiles, pa.string()),
        "finished": pa.array(finished, pa.bool_()),
        **{name: pa.array(values, pa.float64()) for name, values in extra_columns.items()},
    }
    pq.write_table(pa.table(columns), folder / "samples.parquet")


def judged(data: Path, reporter=None, **changes):
    settings = {"uniqueness_at": (4,), "with_fcd": False, "bootstrap_rounds": 50, "drawn_molecules": 4, **changes}
    names = {"stage": "report", "model": "model", "samples": "samples", "title": "Molecules"}
    return report.judge_samples(MoleculeReportConfig(**settings), data, reporter or RecordingReporter(), **names)


@pytest.fixture
def data(tmp_path) -> Path:
    """Two unconditional and four conditional samples at each of two settings, one of them invalid."""
    folder = tmp_path / "data"
    write_table(folder / "molecules", REAL)
    unconditional = [("unconditional", 1.0, text, True) for text in ("OCC", "CCO", "CCCl", "C1CC", "CCCCCC")]
    conditional = [("conditional", 0.8, text, text != "CC(") for text in ("CCO", "CCCC", "CC(", "c1ccccc1")]
    requested = [None] * 5 + [46.0, 60.0, 70.0, 78.0]
    write_samples(folder, unconditional + conditional, requested_mol_wt=requested, requested_heat_capacity=requested)
    return folder


def test_the_numbers_are_those_one_counts_by_hand(data):
    metrics = judged(data).numbers.flat
    assert (metrics["unconditional_t1_validity"], metrics["unconditional_t1_validity_n"]) == (0.8, 5)
    assert (metrics["unconditional_t1_uniqueness_at_4"], metrics["unconditional_t1_uniqueness_at_4_n"]) == (0.75, 4)
    # Of ethanol, chloroethane and hexane only ethanol is in the training split.
    assert (metrics["unconditional_t1_novelty"], metrics["unconditional_t1_novelty_n"]) == (0.666667, 3)
    assert (metrics["conditional_t0.8_mol_wt_coverage"], metrics["conditional_t0.8_mol_wt_coverage_n"]) == (0.75, 4)
    assert (metrics["conditional_t0.8_mol_wt_success_10pct"], metrics["conditional_t0.8_mol_wt_r2_n"]) == (0.75, 3)
    assert metrics["conditional_t0.8_finished"] == 0.75


def test_new_molecules_are_counted_of_all_samples_and_near_copies_of_the_new(data):
    metrics = judged(data).numbers.flat
    # Ethanol twice, chloroethane, hexane, and one that is not valid.
    assert (metrics["unconditional_t1_valid_unique_novel"], metrics["unconditional_t1_valid_unique_novel_n"]) == (0.4, 5)
    assert (metrics["unconditional_t1_near_copies"], metrics["unconditional_t1_near_copies_n"]) == (0.0, 2)
    assert "real_molecules_near_copies" in metrics
    # Chloroethane is a primary alkyl halide.
    assert (metrics["unconditional_t1_filters_passed"], metrics["unconditional_t1_filters_passed_n"]) == (0.75, 4)


def test_molecules_with_new_scaffolds_are_a_reference_of_their_own(data):
    found = judged(data)
    # Naphthalene is held out, and no training molecule has its rings.
    assert found.numbers.flat["unconditional_t1_new_scaffolds_n"] == 1
    assert found.numbers.flat["real_molecules_new_scaffolds_nearest_similarity_n"] > 0
    assert "## Against molecules with new scaffolds" in found.text


def test_distances_of_properties_are_in_their_units_and_are_those_of_scipy(data):
    from scipy.stats import wasserstein_distance

    measured = [[DESCRIPTORS["mol_wt"].measure(Chem.MolFromSmiles(text)) for text in side] for side in (("OCC", "CCO", "CCCl", "CCCCCC"), REAL[2::3])]
    assert judged(data).numbers.flat["unconditional_t1_mol_wt_wasserstein"] == pytest.approx(wasserstein_distance(*measured), rel=1e-5)


def test_rates_come_with_a_denominator_and_an_interval_that_holds_them(data):
    metrics = judged(data).numbers.flat
    for name in ("unconditional_t1_validity", "unconditional_t1_novelty", "conditional_t0.8_mol_wt_success_10pct"):
        assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"]
        assert metrics[f"{name}_n"] > 0


def test_the_headline_is_about_the_first_samples_those_on_request_and_real_molecules(data):
    headline = json.loads((judged(data).write(data) / "headline.json").read_text())
    assert list(headline) == ["unconditional_t1", "conditional_t0.8", "real_molecules"]
    assert list(headline["unconditional_t1"])[:3] == ["validity", "uniqueness_at_4", "novelty"]
    assert headline["conditional_t0.8"]["validity"] == 0.75
    assert set(headline["conditional_t0.8"]) == {"validity", "mean_r2"}


def test_two_reports_of_the_same_samples_are_equal_byte_for_byte(data, tmp_path):
    folder = judged(data).write(data)
    assert sorted(path.name for path in folder.iterdir()) == [
        "headline.json", "metrics.json", "molecules.png", "near_copies.png", "novelty.png", "report.md", "requested_vs_obtained.png",
    ]  # fmt: skip
    assert content_id(judged(data).write(tmp_path)) == content_id(folder)


def test_the_report_says_denominators_the_floor_and_what_it_could_not_measure(data):
    text = judged(data).text
    assert "| unconditional, T = 1, as molecules | 0.8 (0.376…0.964, n = 5) |" in text
    assert "*real molecules (floor)*" in text
    assert "RDKit cannot recompute them and too few real molecules have them: heat\\_capacity" in text
    assert "not readable as a molecule" in text


def test_the_check_is_about_the_first_group_and_the_caller_sees_the_pictures(data):
    reporter, found = RecordingReporter(), judged(data, validity_floor=0.9)
    found.tell(found.write(data), reporter)
    assert reporter.checks["validity_floor"] == (False, "WARN", {"samples": "unconditional_t1", "valid": 4, "generated": 5, "floor": 0.9})
    assert reporter.markdowns["report"].count("data:image/png;base64,") == 4


def test_samples_without_one_valid_molecule_give_denominators_and_no_scores(tmp_path):
    data = tmp_path / "data"
    write_table(data / "molecules", REAL)
    write_samples(data, [("unconditional", 1.0, "C1CC", False), ("conditional", 1.0, None, False)], requested_mol_wt=[None, 50.0])
    metrics = judged(data).numbers.flat
    assert (metrics["unconditional_t1_validity"], metrics["unconditional_t1_validity_n"], metrics["unconditional_t1_novelty_n"]) == (0.0, 1, 0)
    assert metrics["conditional_t1_mol_wt_r2_n"] == 0
    assert "unconditional_t1_novelty" not in metrics
    assert "conditional_t1_mol_wt_r2" not in metrics


def test_polymer_samples_need_two_stars_and_are_compared_with_polymers(tmp_path):
    data = tmp_path / "data"
    write_table(data / "molecules", REAL)
    write_table(data / "polymers", [f"*{'C' * length}*" for length in range(1, 10)])
    write_samples(data, [("unconditional", 1.0, "*CC*", True), ("unconditional", 1.0, "CCO", True)])
    metrics = judged(data, unconditional_like="polymers", trained_on=("molecules", "polymers")).numbers.flat
    assert metrics["unconditional_t1_validity"] == 0.5
    assert metrics["unconditional_t1_novelty"] == 0.0
    assert "real_polymers_internal_diversity_1" in metrics


def test_a_property_that_only_a_predictor_can_tell_is_reported_with_the_quality_of_the_predictor(tmp_path):
    data = tmp_path / "data"
    smiles = ["C" * length + "O" * oxygens for length in range(1, 41) for oxygens in range(3)]
    write_table(data / "molecules", smiles, homo_gw=[float(len(text)) for text in smiles])
    asked = [("conditional", 1.0, text, True) for text in ("CCCO", "CCCCCC", "CCCCCCCC")]
    write_samples(data, asked, requested_homo_gw=[4.0, 6.0, 8.0])
    found = judged(data)
    assert found.numbers.flat["conditional_t1_homo_gw_predicted_r2_n"] == 3
    assert found.numbers.values["conditional_t1_homo_gw_predictor_r2"] > 0.9
    assert "| homo\\_gw (predicted) |" in found.text
    assert "taught by 80 real molecules, whose own R² on held-out real ones is" in found.text


def test_foreign_text_cannot_break_out_of_the_markdown(tmp_path):
    data = tmp_path / "data"
    write_table(data / "molecules", REAL)
    write_samples(data, [("<script>|x](y)", 1.0, "CCO", True)], **{"requested_<img src=x>": [1.0]})
    text = judged(data).markdown()
    assert not [foreign for foreign in ("<script>", "<img", "|x]") if foreign in text]


def test_without_the_fcd_package_the_number_is_absent_and_the_report_says_why(data, monkeypatch):
    monkeypatch.setattr(fcd, "missing_reason", lambda: "fcd_torch is not installed (extra: fcd)")
    reporter = RecordingReporter()
    found = judged(data, reporter, with_fcd=True)
    assert not [name for name in found.numbers.flat if "fcd" in name]
    assert "absent, because fcd\\_torch is not installed" in found.text
    assert any("fcd_torch is left out" in line for line in reporter.lines)


@pytest.mark.parametrize("change", [{"validity_floor": 2}, {"drawn_molecules": -1}, {"trained_on": ()}, {"compare_at_most": 1}])
def test_settings_that_make_no_sense_are_refused_by_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        MoleculeReportConfig(**change)
