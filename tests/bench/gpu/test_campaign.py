"""The campaign at its smallest size on a CPU: what it needs, what it writes, and what becomes of it when something goes wrong."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from bench.gpu import campaign, recording
from bench.gpu.__main__ import main
from bench.gpu.campaign import Campaign, CampaignError, device_for
from bench.gpu.inputs import Inputs
from bench.gpu.plan import PARTS, Part, named, seconds_for

ROOT = Path(__file__).resolve().parents[3]
# What a bare machine with torch has, and what comes with these.
BLOCKED = (
    "mlflow", "dagster", "dagster_pipes", "dvc", "pyarrow", "rdkit", "matplotlib", "isal", "psutil", "ruamel", "pandas", "sklearn", "h5py", "av",
    "tensorboard", "lxml", "scrapy", "fcd_torch", "pathspec", "nltk", "sacrebleu", "torchvision",
)  # fmt: skip


def python(code, *words, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], cwd=ROOT, env=environment, **options)


def campaign_code(*blocked, imported=()):
    """A program that runs the campaign where the modules `blocked` are not installed, after it has imported others."""
    return f"""
import importlib, sys
sys.modules.update(dict.fromkeys({blocked!r}))
from bench.gpu.__main__ import main
for name in {imported!r}:
    importlib.import_module(name)
sys.exit(main(sys.argv[1:]))
"""


def facts(**more):
    return {"kind": "cpu", "device": "a processor", **more}


def of(parts, inputs, out, *, seconds=60.0):
    return Campaign(parts, Inputs(inputs, most=40), out, facts(), end=time.monotonic() + seconds, tiny=True)


# What is needed


def test_it_runs_where_only_torch_and_its_like_are_and_an_interruption_leaves_what_was_found(inputs, tmp_path):
    parts = tuple(f"bench.gpu.{name}" for name in ("stylegan3", "molecules", "pictures", "profiles", "words"))
    trainings = tuple(f"training.{name}" for name in ("stylegan3.train", "progressive.train", "cyclegan.train", "polymers.ldm.sample"))
    code = campaign_code(*BLOCKED, "transformers", "tokenizers", "triton", imported=parts + trainings)
    words = ["--tiny", "--minutes", 10, "--only", "titles", "sampling", "pggan", "--inputs", inputs, "--out", tmp_path]
    process = python(code, *words, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("pggan"):
            process.send_signal(signal.SIGTERM)
            break
    process.stdout.close()
    assert process.wait(120) == 128 + signal.SIGTERM
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["facts"]["torch"] == torch.__version__ and report["facts"]["transformers"] is None and report["facts"]["stopped_by"] == "SIGTERM"
    assert report["parts"]["titles"]["why"] == "transformers is not installed here"
    assert report["parts"]["sampling"]["state"] == "done" and report["parts"]["sampling"]["rows"][0]["same_tokens"] == 1
    assert report["parts"]["pggan"]["state"] in ("stopped", "done")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_whole_campaign_at_its_smallest_and_its_scores(inputs, tmp_path):
    words = ["--tiny", "--minutes", 20, "--inputs", inputs, "--out", tmp_path]
    process = python(campaign_code(*BLOCKED), *words, stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=1400)
    report = json.loads((tmp_path / "report.json").read_text())
    states = {name: part["state"] for name, part in report["parts"].items()}
    assert states == dict.fromkeys([part.name for part in PARTS], "done"), {name: part.get("error") for name, part in report["parts"].items()}
    assert process.returncode == 0, said
    files = sorted(tmp_path.iterdir())
    assert len(files) <= 8 and all(path.stat().st_size <= 16 * 2**20 for path in files)
    with zipfile.ZipFile(tmp_path / "samples.zip") as archive:
        assert {"polygpt/polygpt_free.jsonl", "polytao/polytao_asked.jsonl", "polyvae/polyldm_free.jsonl", "titles/titles.txt"} <= {
            *archive.namelist()
        }

    assert main(["score", str(tmp_path), "--inputs", str(inputs)]) == 0
    scored = json.loads((tmp_path / "scored" / "scores.json").read_text())
    assert {"polygpt_free", "polygpt_asked", "polytao_asked", "polyvae_free", "polyldm_free"} <= scored["molecules"].keys()
    table = (tmp_path / "scored" / "results.md").read_text()
    assert "these are no measurements" in table and "bits a character, a 5-gram" in table
    assert (tmp_path / "scored" / "plots.png").is_file() and (tmp_path / "scored" / "cyclegan_32px.png").is_file()


# What goes wrong


def write_then_wait(work):
    work.row("found", value=1)
    work.keep("samples", "text.txt", "kept")
    time.sleep(60)


def write_then_fail(work):
    work.row("found", value=2)
    raise RuntimeError("it broke")


def die(work):
    work.row("found", value=3)
    os.kill(os.getpid(), signal.SIGKILL)


def succeed(work):
    work.row("found", value=4)


@pytest.fixture
def part(monkeypatch):
    """A part that runs a function of this module."""

    def make(function, **settings):
        made = Part(function.__name__, "none", 1, "a test", **settings)
        monkeypatch.setattr(Part, "run", lambda self, work: globals()[self.name](work))
        return made

    return make


def test_one_part_that_fails_dies_or_hangs_costs_no_other(part, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(campaign, "_GRACE_S", 0.5)
    parts = [part(write_then_fail), part(die), part(write_then_wait), part(succeed)]
    # Some seconds each; the one that hangs takes all of its own.
    assert of(parts, inputs, tmp_path, seconds=17).run() == 1
    report = json.loads((tmp_path / "report.json").read_text())["parts"]
    assert [report[one.name]["state"] for one in parts] == ["failed", "failed", "out of time", "done"]
    assert [report[one.name]["rows"][0]["value"] for one in parts] == [2, 3, 1, 4]
    assert "RuntimeError: it broke" in report["write_then_fail"]["error"]
    assert "OutOfTimeError" in report["write_then_wait"]["error"]
    with zipfile.ZipFile(tmp_path / "samples.zip") as archive:
        assert archive.read("write_then_wait/text.txt") == b"kept"


def test_what_a_part_lacks_leaves_it_out(part, inputs, tmp_path):
    assert of([part(succeed, needs="no_such_library")], inputs, tmp_path).run() == 0
    report = json.loads((tmp_path / "report.json").read_text())["parts"]["succeed"]
    assert report["state"] == "left out" and report["why"] == "no_such_library is not installed here"


def test_a_full_disk_is_said_before_and_while_it_runs(part, inputs, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = of([part(succeed)], inputs, tmp_path)
    monkeypatch.setattr(recording, "write_file_atomically", full)
    with pytest.raises(CampaignError, match="no room left on the device"):
        run.run()
    monkeypatch.setattr(campaign.shutil, "disk_usage", lambda _: campaign.shutil._ntuple_diskusage(100, 99, 1 * 2**20))
    with pytest.raises(CampaignError, match="1 MiB free, 256 MiB are needed"):
        of([part(succeed)], inputs, tmp_path)


def test_without_a_gpu_it_says_so_and_offers_the_trial(monkeypatch):
    with pytest.raises(CampaignError, match="no GPU that torch .* --tiny"):
        device_for("cpu", tiny=False)
    assert device_for("cpu", tiny=True).type == "cpu" and device_for("cuda", tiny=False).type == "cuda"
    monkeypatch.setattr(torch, "__version__", "2.10.1+cu128")
    with pytest.raises(CampaignError, match=r"torch 2.10.1.* is older than 2.11"):
        device_for("cuda", tiny=False)


def test_bad_arguments_are_named(inputs, tmp_path, capsys):
    assert main(["--only", "kernels", "--inputs", str(inputs), "--out", str(tmp_path)]) == 2
    assert "--only kernels: no such part; there are kernel, stylegan3_speed" in capsys.readouterr().err
    assert main(["--inputs", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "make the inputs first" in capsys.readouterr().err and not (tmp_path / "report.json").exists()
    (tmp_path / "about.json").write_text('{"version": 0}')
    assert main(["--inputs", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "version 0, expected 2" in capsys.readouterr().err


# Time and room


def test_what_a_part_does_not_use_goes_to_those_behind_it():
    first, *later = PARTS
    whole = seconds_for(first, later, 500)
    assert whole == pytest.approx(500 * first.seconds / sum(part.seconds for part in PARTS))
    assert seconds_for(first, later[:-1], 500) > whole and seconds_for(first, [], 500) == 500 and seconds_for(first, later, -1) == 0
    assert 530 < sum(part.seconds for part in PARTS) < 540
    assert [part.name for part in named(["polygpt", "kernel"])] == ["kernel", "polygpt"]


def test_what_has_no_room_in_a_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "MOST_FILE_BYTES", 40_000)
    report = recording.Report(tmp_path / "out", tmp_path / "scratch", {})
    for name, size in (("a", 20_000), ("b", 30_000), ("c", 10)):
        folder = tmp_path / "scratch" / name / "pictures"
        folder.mkdir(parents=True)
        (folder / "one.png").write_bytes(os.urandom(size))
        report.update(name, state="done")
    report.pack()
    with zipfile.ZipFile(tmp_path / "out" / "pictures.zip") as archive:
        assert archive.namelist() == ["a/one.png", "c/one.png"]
    assert (tmp_path / "out" / "pictures.zip").stat().st_size <= 40_000
    assert json.loads((tmp_path / "out" / "report.json").read_text())["left_out"] == ["pictures/b/one.png"]


def test_a_row_that_was_cut_off_is_left_out(tmp_path):
    (tmp_path / recording.ROWS).write_text('{"what": "one"}\n{"what": "tw')
    assert recording.rows_of(tmp_path) == [{"what": "one"}]
