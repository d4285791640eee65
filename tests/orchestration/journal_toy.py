"""A small real project in the shape of the paper vertical: a scheduled source, papers, a dataset, and a training that waits for a person."""

import json
import subprocess
import sys
from pathlib import Path

_DVC_YAML = """\
stages:
  journal_pages:
    cmd: {python} code/crawl.py
    params: [journal_pages]
    outs:
      - data/journal_pages:
          persist: true
    meta:
      source: true
      dagster:
        schedule: {{cron: "0 3 * * *", timezone: UTC}}
  papers:
    cmd: {python} code/papers.py
    deps: [data/journal_pages, retractions.yaml]
    outs: [data/papers]
    meta: {{dagster: {{automation: on_data}}}}
  toc_dataset:
    foreach: [64]
    do:
      cmd: {python} code/dataset.py
      deps: [data/papers]
      outs: ["data/toc_dataset@${{item}}"]
      meta: {{dagster: {{automation: on_data}}}}
  gan:
    cmd: {python} code/gan.py
    deps: [data/toc_dataset@64]
    outs: [data/gan]
    meta: {{dagster: {{automation: manual}}}}
  fakes:
    cmd: {python} code/fakes.py
    deps: [data/gan]
    outs: [data/fakes]
    meta: {{dagster: {{automation: on_data}}}}
"""

_CODE = {
    "crawl.py": """
import pathlib, shutil
out = pathlib.Path("data/journal_pages")
out.mkdir(parents=True, exist_ok=True)
new = out / ".new"
shutil.copyfile("site.json", new)
new.replace(out / "pages.json")
with open("crawled", "a") as stream:
    stream.write("once\\n")
""",
    "papers.py": """
import json, pathlib, re
import pyarrow as pa, pyarrow.parquet as pq
asked = {line.split('"')[1] for line in open("retractions.yaml") if line.startswith("- id")}
site = json.load(open("data/journal_pages/pages.json"))
live = [p for p in site if p["id"] not in asked and not p.get("gone")]
withdrawn = [p for p in site if p not in live]
out = pathlib.Path("data/papers")
out.mkdir(parents=True, exist_ok=True)
columns = ["id", "doi", "url", "title", "image_sha256"]
pq.write_table(pa.table({c: pa.array([p[c] for p in live], pa.string()) for c in columns}), out / "papers-00000.parquet")
rows = {"id": [p["id"] for p in withdrawn], "image_sha256": [p["image_sha256"] for p in withdrawn], "reason": ["gone" for _ in withdrawn]}
pq.write_table(pa.table({c: pa.array(v, pa.string()) for c, v in rows.items()}), out / "withdrawn.parquet")
""",
    "dataset.py": """
import pathlib
import pyarrow as pa, pyarrow.parquet as pq
papers = pq.read_table("data/papers/papers-00000.parquet").to_pylist()
out = pathlib.Path("data/toc_dataset@64")
out.mkdir(parents=True, exist_ok=True)
pictures = pa.array([p["image_sha256"] for p in papers], pa.string())
ids = pa.array([[p["id"]] for p in papers], pa.list_(pa.string()))
pq.write_table(pa.table({"sha256": pictures, "paper_ids": ids}), out / "index.parquet")
""",
    "gan.py": """
import pathlib
out = pathlib.Path("data/gan")
out.mkdir(parents=True, exist_ok=True)
(out / "weights").write_bytes(pathlib.Path("data/toc_dataset@64/index.parquet").read_bytes())
""",
    "fakes.py": """
import pathlib
out = pathlib.Path("data/fakes")
out.mkdir(parents=True, exist_ok=True)
(out / "fakes").write_text("fakes")
""",
}


def paper(number: int, **changes: object) -> dict[str, object]:
    doi = f"10.5555/toy.{number}"
    page = {"id": f"doi:{doi}", "doi": doi, "url": f"http://toy.example/{number}", "title": f"On number {number}", "image_sha256": f"{number:064x}"}
    return page | changes


def publish(root: Path, papers: list[dict[str, object]]) -> None:
    """What the source shows from now on."""
    (root / "site.json").write_text(json.dumps(papers))


def make_journal_project(root: Path) -> Path:
    (root / "code").mkdir(parents=True)
    for name, code in _CODE.items():
        (root / "code" / name).write_text(code)
    (root / "dvc.yaml").write_text(_DVC_YAML.format(python=f"{sys.executable} -B"))
    (root / "params.yaml").write_text("journal_pages:\n  contact: a@toy.example\n")
    (root / "retractions.yaml").write_text("# Withdrawn on request.\n[]\n")
    publish(root, [paper(number) for number in range(4)])
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=root, check=True)
    return root
