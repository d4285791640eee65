"""The tab of papers: one of those that `imaginary_papers` made, at random; or a fresh one, which nobody compared with real ones."""

import io
import random
from typing import Any

import gradio
import numpy
from PIL import Image

from app.live import texts, walks
from app.live.inputs import WAITING, answering, drawing, printed, whole
from app.live.served import Shelf
from training.words.imaginary.tables import picture_png, read_lineage, read_papers

PICTURES = "stylegan3_toc"


def papers_tab(shelf: Shelf) -> None:
    folder = shelf.project.root / "data/imaginary_papers"
    with gradio.Row(equal_height=False):
        with gradio.Column():
            any_one = gradio.Button("Any paper", variant="primary")
            seed = gradio.Number(0, precision=0, label="Seed of a fresh one", minimum=0)
            fresh = gradio.Button("Make a fresh one")
            picture = drawing("Its picture", "The picture that a machine drew for this paper")
        result = gradio.HTML(WAITING)

    def show_any() -> tuple[Any, str]:
        paper = random.choice(read_papers(folder))
        facts = {
            "number": f"{paper.number}, {paper.id}",
            "seeds": f"{paper.picture_seed} (picture), {paper.title_seed} (title), {paper.abstract_seed} (abstract)",
            "nearest real title": f"{paper.nearest_title} ({paper.nearest_similarity or 0:.0%} alike)",
            "nearest real picture": f"{paper.nearest_picture_sha256[:12]}, {paper.nearest_picture_levels:.1f} of 255 levels away",
            "made from": ", ".join(f"{name} {entry['id'][:12]}" for name, entry in read_lineage(folder).items()),
        }
        pixels = numpy.asarray(Image.open(io.BytesIO(picture_png(folder, paper))).convert("RGB"))
        return walks.enlarged(pixels), printed([(paper.title, paper.abstract)], facts)

    def make_fresh(number: Any) -> tuple[Any, str]:
        pixels = walks.draw(shelf, PICTURES, seed=(seed := whole(number, "the seed")))
        title = texts.write(shelf, texts.TITLER, pixels.transpose(2, 0, 1), how=texts.DRAWN, seed=seed)[0]
        abstract = texts.write(shelf, texts.ABSTRACTS, title, how=texts.DRAWN, seed=seed)[0]
        facts = {"seed": str(seed), "compared with real papers": "no: it may be a copy, unlike those of the journal"}
        facts["made from"] = "; ".join(shelf.find(name).words for name in (PICTURES, texts.TITLER, texts.ABSTRACTS))
        return walks.enlarged(pixels), printed([(title, abstract)], facts)

    any_one.click(answering(show_any), None, [picture, result], api_name="paper", concurrency_id="models")
    fresh.click(answering(make_fresh), seed, [picture, result], api_name="fresh_paper", concurrency_id="models")
