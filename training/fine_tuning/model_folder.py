"""Models and tokenizers of transformers, from a hub name or a folder, and into a folder that transformers loads without this project.

Weights are safetensors only, and no code of a model's own is ever run.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from training.fine_tuning.examples import TuningError


def load_model(name_or_path: str | Path, kind: Any, **changes: Any) -> PreTrainedModel:
    """A model in float32, for evaluation. kind: such as `AutoModelForCausalLM`. changes: of its configuration (a dropout). Raises TuningError."""
    return _loaded(name_or_path, kind, "model", use_safetensors=True, dtype="float32", **changes).eval()


def load_tokenizer(name_or_path: str | Path, model: PreTrainedModel | None = None) -> Any:
    """The tokenizer beside a model; where `model` is given, one that its embeddings can be of. Raises TuningError."""
    tokenizer = _loaded(name_or_path, AutoTokenizer, "tokenizer", use_fast=True)
    tokens = rows = len(tokenizer)
    if model is not None:
        rows = model.get_input_embeddings().weight.shape[0]
    # Embeddings are padded to round numbers: there may be some rows, or a hundredth, more than tokens.
    if not tokens <= rows <= tokens + max(64, tokens // 100):
        raise TuningError(f"{name_or_path}: the tokenizer has {tokens:,} tokens and the model {rows:,} embeddings; take both from one model's folder")
    return tokenizer


def load_processor(name_or_path: str | Path) -> Any:
    """The image processor beside a model, by Pillow even where torchvision is installed, which has other pixels. Raises TuningError."""
    try:
        return AutoImageProcessor.from_pretrained(str(name_or_path), backend="pil")
    except (OSError, ValueError, ImportError) as error:
        raise TuningError(f"{name_or_path}: no image processor that can be loaded ({str(error).strip().partition(chr(10))[0]})") from None


def save_model(folder: Path, model: PreTrainedModel, savers: Sequence[Any], card: str) -> None:
    """Weights, configuration, what lies beside them, and README.md. The same weights make the same bytes."""
    disable_progress_bar()
    for saver in (model, *savers):
        saver.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
    # Release 5 of transformers writes a name of the tokenizer's class that release 4 does not know; both know this one.
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        path.write_text(json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _loaded(name_or_path: str | Path, kind: Any, what: str, **options: Any) -> Any:
    disable_progress_bar()
    try:
        return kind.from_pretrained(str(name_or_path), trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
    advice = "with HF_HUB_OFFLINE=1 or no network give a folder, or null for new weights"
    if Path(name_or_path).is_dir():
        found = ", ".join(sorted(path.name for path in Path(name_or_path).glob("*.safetensors"))) or "no weights"
        advice = f"a folder needs config.json and safetensors that are whole and of that model; it has {found}"
    raise TuningError(f"{name_or_path}: transformers finds no {what} ({reason}); {advice}")
