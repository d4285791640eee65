import json
import zipfile

import pytest

from bench.gpu.inputs import Inputs
from bench.gpu.score import BEGIN, END, LINES, NOT_MEASURED, Found, ScoreError, judge, main, markdown, read, write_between_markers

ROWS = [
    {"part": "kernel", "what": "reached", "copy_bytes_per_s": 3e12},
    {"part": "kernel", "what": "answers", "fused": True, "ok": True, "dtype": "float32", "errors": {"output": 1e-6, "gradient": 3e-6}},
    {"part": "kernel", "what": "answers", "fused": True, "ok": False, "dtype": "float16", "failed": "OutOfResources: shared memory"},
    {"part": "kernel", "what": "speed", "plain": {"both_ms": 4.0}, "kernel": {"both_ms": 1.0, "bytes_per_s": 1e12}},
    {"part": "kernel", "what": "speed", "plain": {"failed": "out of memory"}, "kernel": {"both_ms": 1.0, "bytes_per_s": 1e12}},
    {
        "part": "stylegan3_speed", "what": "speed", "cfg": "stylegan3-t", "px": 128, "variant": "kernel", "s_per_kimg": 12.5, "images_per_s": 80.0,
        "memory_gib": 9.5, "watts": None,
    },
    {"part": "stylegan3_run", "what": "floor", "value": 0.5},
    {"part": "stylegan3_run", "what": "learnt", "fd_rand0": 200.0, "seconds": 0, "kimg": 0.0},
    {"part": "stylegan3_run", "what": "learnt", "fd_rand0": 30.0, "seconds": 240, "kimg": 16.0},
    {"part": "sampling", "what": "sampling", "batch": 16, "tokens": 78, "ratio": 8.5},
    {
        "part": "profile", "what": "profile", "of": "x", "kernels": 9, "steps": 2, "launches": 8, "graph_launches": 1, "host_waits": 0, "gap_ms": 1,
        "window_ms": 4,
    },
]  # fmt: skip


def table_of(rows):
    text = markdown(Found({"device": "Imaginary GPU", "date": "2030-01-01", "torch": "2.13.0"}, rows, {}))
    return text, {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[2].removesuffix(" |") for line in text.splitlines() if " | " in line}


def test_rows_say_what_was_measured_and_nothing_else():
    text, told = table_of(ROWS)
    assert text.startswith("Imaginary GPU, 2030-01-01; torch 2.13.0.")
    assert told["filtered leaky ReLU: kernel against its definition in float64"] == "1 of 2 right; largest errors: float32 3.0e-06"
    kernel = told["the same: kernel beside the plain path, forward and backward"]
    assert kernel == "4.00 × (least 4.00, greatest 4.00) over 1 kinds of layer; 1.00 TB/s by count of 3.00 TB/s copied"
    assert told["StyleGAN3-T 128 px, batch 32, s/kimg"] == "kernel **12.5** (80 img/s, 9.5 GiB)"
    assert told["StyleGAN3-T 256 px, batch 32, s/kimg"] == NOT_MEASURED
    assert told["StyleGAN3-T 128 px learns: `fd_rand0` of 2,000 fakes"].startswith("200 → 30 (−85 %) in 240 s, 16 kimg")
    assert told["PolyGPT's sampling beside the loop without a cache"] == "8.50 × at batch 16, 78 tokens"
    assert told["profile"].endswith("idle 25 %") and told["PolyVAE"] == NOT_MEASURED


def test_without_results_every_row_is_not_measured():
    text = markdown(None)
    assert text.startswith("Not measured yet") and text.count(NOT_MEASURED) == len(LINES)
    assert table_of([])[0].count(NOT_MEASURED) == len(LINES)


def test_the_table_in_the_results_is_the_one_the_command_writes(tmp_path):
    """Whoever changes a row writes the table again."""
    from pathlib import Path

    text = Path("docs/RESULTS.md").read_text(encoding="utf-8")
    table = text.partition(BEGIN)[2].partition(END)[0]
    assert [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")][1:] == [f"| {what}" for what, *_ in LINES]


def test_molecules_are_judged_by_what_they_are(inputs):
    opened = Inputs(inputs)
    known = opened.molecule_table("train", ("mol_wt",))
    weights = known.properties[:2, 0].tolist()
    samples = {
        "copies": [{"smiles": text, "asked": {"mol_wt": weight}} for text, weight in zip(known.smiles[:2], weights, strict=True)],
        "broken": [{"smiles": "C(C"}, {"smiles": "CCO"}, {"smiles": "OCC"}],
    }
    scores = judge(samples, opened)
    assert scores["copies"]["valid"] == {"value": 1.0, "of": 2} and scores["copies"]["novel"]["value"] == 0
    assert scores["copies"]["asked"]["mol_wt"]["r2"] == pytest.approx(1, abs=1e-6) and scores["copies"]["asked"]["mol_wt"]["mae"] < 0.01
    assert scores["broken"]["valid"]["value"] == pytest.approx(2 / 3) and scores["broken"]["unique"]["value"] == 0.5
    assert judge({}, opened) == {}


def folder_of(path, part, rows, sample):
    path.mkdir()
    (path / "report.json").write_text(json.dumps({"facts": {"device": path.name}, "parts": {part: {"rows": rows}, "other": {"rows": []}}}))
    with zipfile.ZipFile(path / "samples.zip", "w") as archive:
        archive.writestr(f"{part}/{sample}.jsonl", '{"smiles": "CCO"}\n')
    return path


def test_several_runs_are_one_and_the_later_counts(tmp_path):
    one = folder_of(tmp_path / "one", "sampling", [{"what": "sampling", "ratio": 1}], "a")
    two = folder_of(tmp_path / "two", "sampling", [{"what": "sampling", "ratio": 2}], "b")
    facts, rows, samples = read([one, two])
    assert facts == {"device": "two"} and [row["ratio"] for row in rows] == [2] and {*samples} == {"a", "b"}


def test_the_table_goes_between_its_markers(tmp_path, capsys):
    path = tmp_path / "RESULTS.md"
    path.write_text(f"# Results\n\n{BEGIN}\nold\n{END}\n\n## After\n")
    assert main(["--write", str(path)]) == 0
    text = path.read_text()
    assert text.startswith(f"# Results\n\n{BEGIN}\n\nNot measured yet") and text.endswith(f"\n\n{END}\n\n## After\n") and "old" not in text
    write_between_markers(path, "again")
    assert path.read_text() == f"# Results\n\n{BEGIN}\n\nagain\n\n{END}\n\n## After\n"


def test_what_cannot_be_read_or_written_is_named(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "no results of a campaign that can be read" in capsys.readouterr().err
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(ScoreError, match="TypeError"):
        read([tmp_path])
    assert main(["--write", str(tmp_path / "none.md")]) == 2
    assert "add them where the table belongs" in capsys.readouterr().err
