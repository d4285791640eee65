"""The stage polygpt_report: from samples and tables to numbers, tables and pictures, twice the same."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Chem = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")
pytest.importorskip("torch", reason="torch is not installed (extra: model)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: chem)")

from formats.descriptors import DESCRIPTORS
from stages.artifact_id import content_id
from stages.params import load_params, read_yaml
from stages.reporting import Reporter
from training.polymers.gpt import report
from training.polymers.gpt.config import PolyGPTConfig

REAL = ("CCO", "CCN", "CCC", "c1ccccc1O", "CC(=O)O", "c1ccc2ccccc2c1", "CCCCN", "OCCO", "CC(C)O", "NCCO", "c1ccncc1", "CCOC(C)=O")

FILES = ["metrics.json", "molecules.png", "report.md", "requested_vs_obtained.png"]


class ListeningReporter(Reporter):
    """Keeps what it is told."""

    def __init__(self):
        self.lines, self.facts, self.markdowns, self.checks = [], {}, {}, {}

    def log(self, message):
        self.lines.append(message)

    def metadata(self, **values):
        self.facts.update(values)

    def markdown(self, name, text):
        self.markdowns[name] = text

    def check(self, name, passed, *, severity="ERROR", **values):
        self.checks[name] = (passed, severity, values)


def write_table(folder: Path, smiles, **more_columns):
    """A dataset of which every third molecule is held out."""
    folder.mkdir(parents=True)
    canonical = [Chem.MolToSmiles(Chem.MolFromSmiles(text)) for text in smiles]
    splits = ["test" if index % 3 == 2 else "train" for index in range(len(canonical))]
    weights = [DESCRIPTORS["mol_wt"].measure(Chem.MolFromSmiles(text)) for text in canonical]
    columns = {"smiles": canonical, "split_random": splits, "split_scaffold": splits, "mol_wt": weights, **more_columns}
    pq.write_table(pa.table(columns), folder / f"{folder.name}-00000.parquet")


def write_samples(data: Path, rows, **extra_columns):
    """rows: (mode, temperature, smiles, finished)."""
    modes, temperatures, smiles, finished = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    folder = data / "polygpt_samples"
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


def config(**changes):
    return report.PolyGPTReportConfig(**{"uniqueness_at": (4,), "with_fcd": False, "bootstrap_rounds": 50, "drawn_molecules": 4, **changes})


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


def metrics_of(data: Path) -> dict:
    return json.loads((data / "polygpt_report" / "metrics.json").read_text())


def test_the_numbers_are_those_one_counts_by_hand(data):
    report.make_report(config(), data, ListeningReporter())
    metrics = metrics_of(data)
    assert (metrics["unconditional_t1_validity"], metrics["unconditional_t1_validity_n"]) == (0.8, 5)
    assert (metrics["unconditional_t1_uniqueness_at_4"], metrics["unconditional_t1_uniqueness_at_4_n"]) == (0.75, 4)
    # Of ethanol, chloroethane and hexane only ethanol is in the training split.
    assert (metrics["unconditional_t1_novelty"], metrics["unconditional_t1_novelty_n"]) == (0.666667, 3)
    assert (metrics["conditional_t0.8_mol_wt_coverage"], metrics["conditional_t0.8_mol_wt_coverage_n"]) == (0.75, 4)
    assert (metrics["conditional_t0.8_mol_wt_success_10pct"], metrics["conditional_t0.8_mol_wt_r2_n"]) == (0.75, 3)
    assert metrics["conditional_t0.8_finished"] == 0.75


def test_every_number_is_flat_sorted_finite_and_of_six_digits(data):
    report.make_report(config(), data, ListeningReporter())
    pairs = json.loads((data / "polygpt_report" / "metrics.json").read_text(), object_pairs_hook=list)
    assert [name for name, _ in pairs] == sorted(name for name, _ in pairs)
    for name, value in pairs:
        assert isinstance(value, int | float), name
        assert float(f"{value:.6g}") == value, name


def test_rates_come_with_a_denominator_and_an_interval_that_holds_them(data):
    metrics = report.make_report(config(), data, ListeningReporter())
    for name in ("unconditional_t1_validity", "unconditional_t1_novelty", "conditional_t0.8_mol_wt_success_10pct"):
        assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"]
        assert metrics[f"{name}_n"] > 0


def test_two_reports_of_the_same_samples_are_equal_byte_for_byte(data, tmp_path):
    report.make_report(config(), data, ListeningReporter())
    first = content_id(data / "polygpt_report")
    (data / "polygpt_report").rename(tmp_path / "earlier")
    report.make_report(config(), data, ListeningReporter())
    assert content_id(data / "polygpt_report") == first
    assert sorted(path.name for path in (data / "polygpt_report").iterdir()) == [
        "metrics.json",
        "molecules.png",
        "report.md",
        "requested_vs_obtained.png",
    ]


def test_the_report_says_denominators_the_floor_and_what_it_could_not_measure(data):
    report.make_report(config(), data, ListeningReporter())
    text = (data / "polygpt_report" / "report.md").read_text()
    assert "| unconditional, T = 1, as molecules | 0.8 (0.376…0.964, n = 5) |" in text
    assert "*real molecules (floor)*" in text
    assert "RDKit cannot recompute them and too few real molecules have them: heat\\_capacity" in text
    assert "not readable as a molecule" in text


def test_the_reporter_hears_numbers_a_check_and_markdown_with_its_pictures_inside(data):
    reporter = ListeningReporter()
    report.make_report(config(validity_floor=0.9), data, reporter)
    assert reporter.facts["unconditional_t1_validity"] == 0.8
    assert reporter.checks["validity_floor"][:2] == (False, "WARN")
    assert "data:image/png;base64," in reporter.markdowns["report"]
    assert len(reporter.markdowns["report"].encode()) < 200_000


def test_samples_without_one_valid_molecule_give_denominators_and_no_scores(tmp_path):
    data = tmp_path / "data"
    write_table(data / "molecules", REAL)
    write_samples(data, [("unconditional", 1.0, "C1CC", False), ("conditional", 1.0, None, False)], requested_mol_wt=[None, 50.0])
    metrics = report.make_report(config(), data, ListeningReporter())
    assert (metrics["unconditional_t1_validity"], metrics["unconditional_t1_validity_n"], metrics["unconditional_t1_novelty_n"]) == (0.0, 1, 0)
    assert metrics["conditional_t1_mol_wt_r2_n"] == 0
    assert "unconditional_t1_novelty" not in metrics
    assert "conditional_t1_mol_wt_r2" not in metrics
    assert (data / "polygpt_report" / "molecules.png").stat().st_size > 0


def test_polymer_samples_need_two_stars_and_are_compared_with_polymers(tmp_path):
    data = tmp_path / "data"
    write_table(data / "molecules", REAL)
    write_table(data / "polymers", [f"*{'C' * length}*" for length in range(1, 10)])
    write_samples(data, [("unconditional", 1.0, "*CC*", True), ("unconditional", 1.0, "CCO", True)])
    metrics = report.make_report(config(unconditional_like="polymers", trained_on=("molecules", "polymers")), data, ListeningReporter())
    assert metrics["unconditional_t1_validity"] == 0.5
    assert metrics["unconditional_t1_novelty"] == 0.0
    assert "real_polymers_internal_diversity_1" in metrics


def test_a_property_that_only_a_predictor_can_tell_is_reported_with_the_quality_of_the_predictor(tmp_path):
    data = tmp_path / "data"
    smiles = ["C" * length + "O" * oxygens for length in range(1, 41) for oxygens in range(3)]
    write_table(data / "molecules", smiles, homo_gw=[float(len(text)) for text in smiles])
    asked = [("conditional", 1.0, text, True) for text in ("CCCO", "CCCCCC", "CCCCCCCC")]
    write_samples(data, asked, requested_homo_gw=[4.0, 6.0, 8.0])
    metrics = report.make_report(config(), data, ListeningReporter())
    assert metrics["conditional_t1_homo_gw_predicted_r2_n"] == 3
    assert metrics["conditional_t1_homo_gw_predictor_r2"] > 0.9
    text = (data / "polygpt_report" / "report.md").read_text()
    assert "| homo\\_gw (predicted) |" in text
    assert "taught by 80 real molecules, whose own R² on held-out real ones is" in text


def test_foreign_text_cannot_break_out_of_the_markdown(tmp_path):
    data = tmp_path / "data"
    write_table(data / "molecules", REAL)
    write_samples(data, [("<script>|x](y)", 1.0, "CCO", True)], **{"requested_<img src=x>": [1.0]})
    reporter = ListeningReporter()
    report.make_report(config(), data, reporter)
    for text in ((data / "polygpt_report" / "report.md").read_text(), reporter.markdowns["report"]):
        assert "<script>" not in text
        assert "<img" not in text
        assert "|x]" not in text


def test_without_the_fcd_package_the_number_is_absent_and_the_report_says_why(data, monkeypatch):
    monkeypatch.setattr(report.fcd, "missing_reason", lambda: "fcd_torch is not installed (extra: fcd)")
    reporter = ListeningReporter()
    metrics = report.make_report(config(with_fcd=True), data, reporter)
    assert not [name for name in metrics if "fcd" in name]
    assert "absent, because fcd\\_torch is not installed" in (data / "polygpt_report" / "report.md").read_text()
    assert any("fcd_torch is left out" in line for line in reporter.lines)


# --- the command line


def write_params(folder: Path, text: str = "") -> Path:
    path = folder / "params.yaml"
    path.write_text(f"polygpt_report:\n  with_fcd: false\n  bootstrap_rounds: 20\n{text}")
    return path


def run(data: Path, params: Path, *more: str) -> int:
    return report.main(["--params", str(params), "--data", str(data), *more])


def test_the_command_judges_and_attaches_to_the_model_by_its_id(data, tmp_path, monkeypatch):
    (data / "polygpt").mkdir()
    (data / "polygpt" / "config.json").write_text("{}")
    attached = {}
    monkeypatch.setattr(report, "attach_metrics", lambda model, **facts: attached.update(model=model, **facts))
    rule = "  promote: {metric: unconditional_t1_validity, at_least: 0.6}\n"
    assert run(data, write_params(tmp_path, rule)) == 0
    assert (attached["model"], attached["output_id"]) == ("polygpt", content_id(data / "polygpt"))
    assert attached["metrics"] == metrics_of(data)
    assert (attached["promote"].metric, attached["promote"].at_least) == ("unconditional_t1_validity", 0.6)
    assert [path.name for path in attached["artifacts"]] == FILES


def test_a_promotion_rule_over_a_number_that_is_absent_promotes_nothing(data, tmp_path, monkeypatch, capsys):
    (data / "polygpt").mkdir()
    attached = {}
    monkeypatch.setattr(report, "attach_metrics", lambda model, **facts: attached.update(facts))
    assert run(data, write_params(tmp_path, "  promote: {metric: unconditional_t9_validity}\n")) == 0
    assert attached["promote"] is None
    assert "no number unconditional_t9_validity" in capsys.readouterr().err


def test_without_the_model_the_report_is_made_all_the_same(data, tmp_path, capsys):
    assert run(data, write_params(tmp_path)) == 0
    assert "attached to no model" in capsys.readouterr().err
    assert (data / "polygpt_report" / "report.md").exists()


def test_a_missing_column_is_one_line_that_names_it_and_those_there_are(data, tmp_path, capsys):
    path = data / "polygpt_samples" / "samples.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["finished"]), path)
    assert run(data, write_params(tmp_path)) == 1
    assert "no column finished; found index, mode, temperature, smiles" in capsys.readouterr().err


def test_missing_samples_are_one_line_that_says_how_to_make_them(data, tmp_path, capsys):
    (data / "polygpt_samples" / "samples.parquet").unlink()
    assert run(data, write_params(tmp_path)) == 1
    assert capsys.readouterr().err.endswith("make the samples first: figment materialize polygpt_samples\n")


def test_a_table_that_is_no_parquet_is_one_line(data, tmp_path, capsys):
    (data / "polygpt_samples" / "samples.parquet").write_text("smiles\nCCO\n")
    assert run(data, write_params(tmp_path)) == 1
    assert "not a Parquet file" in capsys.readouterr().err


def test_an_empty_table_of_samples_is_an_error_and_leaves_the_earlier_report_alone(data, tmp_path, capsys):
    report.make_report(config(), data, ListeningReporter())
    before = content_id(data / "polygpt_report")
    path = data / "polygpt_samples" / "samples.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert run(data, write_params(tmp_path)) == 1
    assert "no sample in samples.parquet" in capsys.readouterr().err
    assert content_id(data / "polygpt_report") == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("validity_flor: 0.5", "did you mean 'validity_floor'"),
        ("validity_floor: 2", "validity_floor must lie in"),
        ("unconditional_like: polymer", "did you mean 'polymers'"),
        ("trained_on: []", "trained_on is empty"),
        ("uniqueness_at: [0]", "uniqueness_at needs numbers of at least 1"),
        ("compare_at_most: 1", "compare_at_most must be at least 2"),
    ],
)
def test_wrong_parameters_are_told_with_exit_code_two(data, tmp_path, capsys, line, message):
    assert run(data, write_params(tmp_path, f"  {line}\n")) == 2
    assert message in capsys.readouterr().err


# --- the shipped parameters


def parameter_files(root):
    """params.yaml and the presets that say how samples are judged."""
    files = [root / "params.yaml", *sorted((root / "presets").glob("*.yaml"))]
    return {path.name: path for path in files if report.STAGE in read_yaml(path)}


def test_the_shipped_parameters_are_read_without_complaint(project_root):
    files = parameter_files(project_root)
    assert "params.yaml" in files
    for path in files.values():
        assert load_params(path, report.STAGE, report.PolyGPTReportConfig).uniqueness_at


def test_novelty_is_judged_against_every_dataset_the_shipped_model_is_trained_on(project_root):
    for name, path in parameter_files(project_root).items():
        if "polygpt" in read_yaml(path):
            trained = load_params(path, "polygpt", PolyGPTConfig)
            judged = load_params(path, report.STAGE, report.PolyGPTReportConfig)
            assert set(trained.datasets) <= set(judged.trained_on), name
            assert trained.split_column == judged.split_column, name
