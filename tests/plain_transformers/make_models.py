"""Train the five language models in the smallest size and note what they answer: python -m tests.plain_transformers.make_models FOLDER

FOLDER/data/NAME is what the job of that name wrote, FOLDER/asked.json for each the inputs, the logits and the tokens it wrote with greedy search.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForMaskedImageModeling,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    VisionEncoderDecoderModel,
)

from tests.training.words.abstracts.toy_papers import toy_papers, write_papers
from tests.training.words.captions.drawn import draw, write_data

_SHORT = "total_samples: 400, batch_size: 8, evaluate_every_samples: 400, checkpoint_every_samples: 400, report_every_samples: 200"
_T5 = f"{{vocabulary_size: 400, d_model: 32, layers: 1, heads: 2, d_ff: 64, title_tokens: 24, abstract_tokens: 48, {_SHORT}}}"
PARAMS = f"""
title_gpt2: {{vocabulary_size: 300, maximum_tokens: 48, width: 32, layers: 1, heads: 2, {_SHORT}}}
toc_encoder: {{dataset_size: 32, image_px: 32, patch_px: 8, width: 32, layers: 1, heads: 2, mask_px: 16, {_SHORT}}}
toc_titler: {{dataset_size: 32, max_tokens: 32, {_SHORT}}}
abstract_t5: {_T5}
title_t5: {_T5}
"""
JOBS = (
    ("data", "training.words.titles.train", []),
    ("data", "training.words.captions.train_encoder", []),
    ("data", "training.words.captions.train", []),
    ("papers", "training.words.abstracts.train", ["abstract_t5"]),
    ("papers", "training.words.abstracts.train", ["title_t5"]),
)
KINDS = {
    "title_gpt2": AutoModelForCausalLM,
    "toc_encoder": AutoModelForMaskedImageModeling,
    "toc_titler": VisionEncoderDecoderModel,
    "abstract_t5": AutoModelForSeq2SeqLM,
    "title_t5": AutoModelForSeq2SeqLM,
}
TITLE = "A red disc in the north-west"


def train(folder: Path) -> None:
    """All five, as their stages do."""
    write_data(folder / "data", held_out=8)
    write_papers(folder / "papers/paper_texts", toy_papers(40, 8, 0))
    (folder / "params.yaml").write_text(PARAMS)
    os.environ["FIGMENT_TRACK"] = "jsonl"
    for data, module, words in JOBS:
        places = ["--params", str(folder / "params.yaml"), "--data", str(folder / data), "--state", str(folder / ".figment")]
        code = importlib.import_module(module).main([*words, *places])
        if code:
            raise SystemExit(f"{module} ended with {code}")


@torch.inference_mode()
def answer(folder: Path, name: str) -> dict[str, Any]:
    """What the model in `folder` makes of TITLE, or of its picture."""
    model = KINDS[name].from_pretrained(folder).eval()
    if name in ("toc_encoder", "toc_titler"):
        pixels = AutoImageProcessor.from_pretrained(folder)(images=[draw(TITLE, 32)], return_tensors="pt")["pixel_values"]
        if name == "toc_encoder":
            mask = torch.zeros(1, (32 // 8) ** 2, dtype=torch.bool)
            found = model(pixel_values=pixels, bool_masked_pos=mask)
            return {"pixels": pixels.tolist(), "logits": found.reconstruction.flatten()[:500].tolist()}
        start = torch.tensor([[model.config.decoder_start_token_id, 5, 7]])
        logits = model(pixel_values=pixels, decoder_input_ids=start).logits
        written = model.generate(pixel_values=pixels, max_new_tokens=12, num_beams=1, do_sample=False)
        return {"pixels": pixels.tolist(), "start": start.tolist(), "logits": logits.flatten().tolist(), "written": written.tolist()}
    tokens = AutoTokenizer.from_pretrained(folder)(TITLE, return_tensors="pt")["input_ids"]
    start = torch.tensor([[getattr(model.config, "decoder_start_token_id", 0), 5, 7]])
    more = {"decoder_input_ids": start} if model.config.is_encoder_decoder else {}
    logits = model(input_ids=tokens, **more).logits
    written = model.generate(input_ids=tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=12, num_beams=1, do_sample=False)
    return {"tokens": tokens.tolist(), "start": start.tolist(), "logits": logits.flatten().tolist(), "written": written.tolist()}


def main(folder: Path) -> None:
    train(folder)
    draw(TITLE, 32).save(folder / "picture.png")
    places = {name: folder / ("papers" if name.endswith("t5") else "data") / name for name in KINDS}
    asked = {name: {"folder": str(place), "kind": KINDS[name].__name__, **answer(place, name)} for name, place in places.items()}
    (folder / "asked.json").write_text(json.dumps({"title": TITLE, "models": asked}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
