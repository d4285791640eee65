"""Models and tokenizers of transformers, from a hub name or a folder, and into a folder that transformers loads without this project.

Weights are safetensors only, and no code of a model's own is ever run.
"""

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from training.words.examples import WordsError

# Rows of an embedding beyond its tokenizer: models are padded to round numbers, by up to so many or such a share.
_SPARE_ROWS, _SPARE_SHARE = 64, 0.01


def load_model(name_or_path: str | Path, kind: Any, **changes: Any) -> PreTrainedModel:
    """A model in float32 and evaluation mode. kind: such as `AutoModelForCausalLM`. changes: entries of its configuration (a dropout).

    Raises WordsError where there is none, or nothing that transformers can read.
    """
    with _Quiet():
        model = _loaded(name_or_path, kind, "model", use_safetensors=True, dtype="float32", **changes)
    return model.eval()


def load_tokenizer(name_or_path: str | Path, model: PreTrainedModel | None = None) -> Any:
    """The tokenizer beside a model, checked against the weights where `model` is given. Raises WordsError."""
    from transformers import AutoTokenizer

    tokenizer = _loaded(name_or_path, AutoTokenizer, "tokenizer", use_fast=True)
    if model is not None:
        check_tokenizer(name_or_path, tokenizer, model.get_input_embeddings().weight.shape[0])
    return tokenizer


def check_tokenizer(where: str | Path, tokenizer: Any, rows: int) -> None:
    """Raises WordsError where the tokenizer cannot be that of an embedding with so many rows."""
    tokens = len(tokenizer)
    if not tokens <= rows <= tokens + max(_SPARE_ROWS, _SPARE_SHARE * tokens):
        raise WordsError(
            f"{where}: the tokenizer has {tokens:,} tokens and the model {rows:,} embeddings; they do not belong together, "
            "take both from where the model was trained"
        )


def save_model(folder: Path, model: PreTrainedModel, savers: Any, card: str) -> None:
    """Weights, configuration, what lies beside them, and README.md. The same weights make the same bytes."""
    with _Quiet():
        model.save_pretrained(folder)
    for saver in savers:
        saver.save_pretrained(folder)
        if isinstance(saver, PreTrainedTokenizerFast):
            _say_fast_tokenizer(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _loaded(name_or_path: str | Path, kind: Any, what: str, **options: Any) -> Any:
    path = Path(name_or_path)
    is_folder = path.is_dir()
    if is_folder and not (path / "config.json").is_file():
        raise WordsError(f"{path}: no config.json, so this is no folder of a model; give one that `save_pretrained` wrote, or a hub name")
    if not is_folder and (path.is_absolute() or str(path).count("/") > 1 or str(name_or_path).startswith(".")):
        raise WordsError(f"{path}: no such folder; give one that `save_pretrained` wrote, or a hub name such as gpt2")
    try:
        return kind.from_pretrained(str(name_or_path), trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        if is_folder:
            raise WordsError(f"{path}: transformers finds no {what} of this kind here ({reason}); weights must be safetensors") from None
        raise WordsError(
            f"{name_or_path}: no folder of this name, and the hub gave no {what} ({reason}); without a network, or with HF_HUB_OFFLINE=1, only what "
            "was downloaded before can be had by name: give the path of a folder instead, or set start_from to null for new weights"
        ) from None


def _say_fast_tokenizer(folder: Path) -> None:
    """Release 5 of transformers writes a name of the class that release 4 does not know; both know this one."""
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        path.write_text(json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


class _Quiet:
    """Without the bars that transformers draws for shards of weights."""

    def __enter__(self) -> None:
        self.were_shown = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        if self.were_shown:
            transformers_logging.enable_progress_bar()
