"""Load what make_models.py saved with whatever transformers this interpreter has, and compare: python load_models.py FOLDER

Imports nothing of this project, which is not installed where this runs.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

# Between releases and their kernels; logits are of the order of 1.
MOST_DIFFERENCE = 2e-5


@torch.inference_mode()
def differences(folder: Path, title: str, model_asked: dict[str, Any]) -> dict[str, float]:
    """How far this release is from the one that saved the model, by what is compared. Tokens that differ count as 1."""
    place = model_asked["folder"]
    model, loading = getattr(transformers, model_asked["kind"]).from_pretrained(place, output_loading_info=True)
    model.eval()
    found = {"keys": float(sum(len(loading[name]) for name in ("missing_keys", "unexpected_keys", "mismatched_keys")))}
    if "pixels" in model_asked:
        image = Image.open(folder / "picture.png").convert("RGB")
        pixels = transformers.AutoImageProcessor.from_pretrained(place)(images=[image], return_tensors="pt")["pixel_values"]
        found["pixels"] = distance(pixels, model_asked["pixels"])
        given = {"pixel_values": pixels}
        if "start" not in model_asked:
            mask = torch.zeros(1, (model.config.image_size // model.config.patch_size) ** 2, dtype=torch.bool)
            found["logits"] = distance(model(**given, bool_masked_pos=mask).reconstruction.flatten()[:500], model_asked["logits"])
            return found
    else:
        tokens = transformers.AutoTokenizer.from_pretrained(place)(title, return_tensors="pt")["input_ids"]
        found["tokens"] = float(tokens.tolist() != model_asked["tokens"])
        given = {"input_ids": torch.tensor(model_asked["tokens"])}
    more = {"decoder_input_ids": torch.tensor(model_asked["start"])} if model.config.is_encoder_decoder else {}
    found["logits"] = distance(model(**given, **more).logits.flatten(), model_asked["logits"])
    mask = {"attention_mask": torch.ones_like(given["input_ids"])} if "input_ids" in given else {}
    written = model.generate(**given, **mask, max_new_tokens=12, num_beams=1, do_sample=False)
    found["written"] = float(written.tolist() != model_asked["written"])
    return found


def distance(found: torch.Tensor, expected: Any) -> float:
    return float((found - torch.tensor(expected)).abs().max())


def main(folder: Path) -> int:
    ours = [name for name in ("training", "stages", "formats") if importlib.util.find_spec(name)]
    if ours or importlib.util.find_spec("torchvision"):
        print(f"this environment has {', '.join(ours) or 'torchvision'}, and so proves nothing")
        return 1
    asked = json.loads((folder / "asked.json").read_text())
    failed = False
    for name, model_asked in asked["models"].items():
        found = differences(folder, asked["title"], model_asked)
        is_same = all(value <= MOST_DIFFERENCE for value in found.values())
        failed |= not is_same
        told = ", ".join(f"{what} {value:.1e}" for what, value in found.items())
        print(f"transformers {transformers.__version__}: {name} {'loads and answers the same' if is_same else 'DIFFERS'} ({told})")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
