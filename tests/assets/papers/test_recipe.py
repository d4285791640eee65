"""docs/journals.md is followed to the letter: its page object, its entry and its commands make a set of pictures out of a publisher's list."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from assets.demo_sites.exchange import Request, Response
from assets.demo_sites.server import serve

LIST = "/en/journals/journalissues/cc"
BOX = """<div class="grey_box_wrapper"><h2><a name="{number}" href="/en/content/articlelanding/2011/cc/{number}">{title}</a></h2>
<div class="grey_left_box_text_s4_new"><i><b>Chem. Commun.</b></i>, 2011, <b>47</b>, {page}-{page}9 <strong>DOI: </strong>10.5555/{number}</div>
<div title="Brief Abstract">About {title}.</div><img alt="Graphical abstract: {title}" title="{number}" src="/NewImages/loading.jpg"></div>"""
TWIN = "".join(BOX.format(number=f"C0XX0000{n}A", title=f"Compound {n} of a set of its own", page=n) for n in range(1, 4))


@dataclass
class Publisher:
    """One list, and a picture of its own for every number that the picture service is asked for."""

    body: bytes
    hosts: tuple[str, ...] = ("pubs.rsc.org",)
    asked: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime(2011, 3, 4, tzinfo=UTC)

    def respond(self, request: Request) -> Response:
        self.asked.append(request.path)
        if request.path == LIST:
            return Response(self.body)
        if request.path.endswith("/GA"):
            stream = io.BytesIO()
            seed = request.query["id"].encode()
            Image.frombytes("RGB", (48, 40), (seed * 48 * 40)[: 48 * 40 * 3]).save(stream, "PNG")
            return Response(stream.getvalue(), "image/png")
        return Response(b"", status=404)


def follow(text: str, body: bytes, folder: Path, root: Path) -> tuple[list[dict], int, Publisher]:
    """What the recipe of the page makes of a list: papers, pictures in the set, and the publisher as it was asked."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text[: text.index("## The rules")], re.DOTALL | re.MULTILINE)
    module, entry, commands = ([block for language, block in blocks if language == wanted][-1] for wanted in ("python", "yaml", "sh"))
    (folder / "letters_at_home.py").write_text(module)
    site = Publisher(body)
    with serve(site) as server:
        sources = [source | {"via": server.proxy, "delay_s": 0} for source in yaml.safe_load(entry)]
        params = yaml.safe_load((root / "params.yaml").read_text())
        params["journal_pages"] |= {"sources": sources, "contact": "somebody@lab.org"}
        params["toc_dataset"]["allow_unknown_licence"] = True
        (folder / "params.yaml").write_text(json.dumps(params, default=str))
        environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{folder}"}
        for command in commands.splitlines():
            assert command.startswith("python -m ")
            done = subprocess.run([sys.executable, *command.split()[1:]], cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}: {done.stderr}"
    papers = [row for shard in sorted((folder / "data/papers").glob("papers-*.parquet")) for row in pq.read_table(shard).to_pylist()]
    pictures = 0
    for shard in (folder / "data/toc_dataset@128").glob("*.zip"):
        with zipfile.ZipFile(shard) as archive:
            pictures += sum(name.endswith(".png") for name in archive.namelist())
    return papers, pictures, site


def test_the_recipe_makes_a_picture_set_of_a_list(project_root, tmp_path):
    text = (project_root / "docs/journals.md").read_text()
    body = f"<html><body>{TWIN}<div class='grey_box_wrapper'>an advertisement</div></body></html>"
    papers, pictures, site = follow(text, body.encode(), tmp_path, project_root)
    assert sorted((paper["doi"], paper["title"], paper["pages"]) for paper in papers) == [
        (f"10.5555/c0xx0000{n}a", f"Compound {n} of a set of its own", f"{n}–{n}9") for n in range(1, 4)
    ]
    assert all(paper["abstract"] and paper["image_sha256"] for paper in papers) and pictures == 3
    assert sum(path == LIST for path in site.asked) == 1 and not any("articlelanding" in path for path in site.asked)


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_recipe_makes_a_picture_set_of_a_real_list_of_2011(project_root, shared_data, tmp_path):
    saved = shared_data / "journals" / "publisher_pages" / "rsc_cc-issue-47-03.html"
    if not saved.is_file():
        pytest.skip(f"{saved.name} is not among the saved pages")
    papers, pictures, _ = follow((project_root / "docs/journals.md").read_text(), saved.read_bytes(), tmp_path, project_root)
    assert len(papers) == pictures == 71, "74 entries, of which three are covers and contents"
    assert all(paper["doi"].startswith("10.1039/c0cc") and paper["title"] and paper["pages"] and paper["abstract"] for paper in papers)
