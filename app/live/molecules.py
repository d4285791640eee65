"""The tab of molecules: PolyGPT writes some, with a property asked for or without, and RDKit says what came of it."""

import csv
import re
import tempfile
from pathlib import Path

import gradio
from PIL import Image

from app.live.inputs import RefusedError, answering, drawing, whole
from app.live.served import Shelf
from formats.descriptors import DESCRIPTORS
from stages import markdown
from training.metrics.molecules import read_generated
from training.polymers.decoding import SamplingSettings, sample_molecules
from training.polymers.drawings import draw_molecules
from training.polymers.gpt.model_folder import load_polygpt
from training.polymers.gpt.sample import PolyGPTWriter
from training.polymers.obedience import obedience
from training.polymers.sampling import requests_by_hand

MODEL, MOST_MOLECULES, NOTHING = "polygpt", 24, "nothing"
_VALUES = re.compile(r"-?\d{1,9}(\.\d{1,9})?(:-?\d{1,9}(\.\d{1,9})?)?", re.ASCII)


def molecules_tab(shelf: Shelf) -> None:
    with gradio.Row():
        wanted = gradio.Dropdown([NOTHING, *DESCRIPTORS], value=NOTHING, label="Property asked for", info="in the units of the data behind the model")
        value = gradio.Textbox(label="Its value, or two to spread them between", placeholder="180 or 150:350", max_length=40)
    with gradio.Row():
        number = gradio.Slider(1, MOST_MOLECULES, 12, step=1, label="Molecules")
        temperature = gradio.Slider(0, 2, 1, step=0.05, label="Temperature", info="0 takes the likeliest")
        seed = gradio.Number(0, precision=0, label="Seed")
    button = gradio.Button("Write molecules", variant="primary")
    drawn = drawing("The valid ones", "Drawings of the valid molecules; the table names all")
    table = gradio.Markdown()

    def write(wanted: str, value: str | None, number: float, temperature: float, seed: float) -> tuple[Image.Image, str]:
        count = whole(number, "the number of molecules", least=1, most=MOST_MOLECULES)
        model, tokenizer = shelf.open(MODEL, lambda folder: load_polygpt(folder, device=shelf.device))
        settings = SamplingSettings(temperature, batch_size=count, seed=whole(seed, "the seed"))
        if wanted != NOTHING and not _VALUES.fullmatch(value or ""):
            raise RefusedError(f"{wanted} must be asked for as a number such as 180, or two such as 150:350; found {(value or 'nothing')[:40]!r}")
        requests = requests_by_hand([] if wanted == NOTHING else [f"{wanted}={value}"], count, settings.seed)
        molecules = list(sample_molecules(PolyGPTWriter(model, tokenizer), requests, settings))
        valid = list(read_generated([molecule.smiles for molecule in molecules]).molecules.values())
        text, lines = obedience(requests, molecules)
        header, *rows = [[markdown.escape(cell) for cell in row] for row in csv.reader(text.splitlines())]
        with tempfile.TemporaryDirectory() as folder:
            draw_molecules(valid, Path(folder, "molecules.png"))
            with Image.open(Path(folder, "molecules.png")) as picture:
                return picture.convert("RGB"), "\n\n".join([*lines, markdown.table(header, rows)])

    button.click(answering(write), [wanted, value, number, temperature, seed], [drawn, table], api_name="molecules", concurrency_id="models")
