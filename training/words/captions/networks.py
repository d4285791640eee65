"""The networks of toc_encoder and toc_titler: built in the sizes of the configuration, or put together from what was trained before."""

from pathlib import Path
from typing import Any, Literal

import transformers
from transformers import PreTrainedModel, VisionEncoderDecoderModel

from training.fine_tuning.examples import TuningError
from training.fine_tuning.model_folder import load_model

Architecture = Literal["vit", "swin"]
_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


def new_masked_model(
    architecture: Architecture, *, image_px: int, patch_px: int, width: int, layers: int, heads: int, dropout: float
) -> PreTrainedModel:
    """A new masked image model. width: of a Vision Transformer; a Swin begins with half of it and doubles it once, with `layers` in two stages."""
    same = {"image_size": image_px, "patch_size": patch_px, **dict.fromkeys(_DROPOUTS, dropout)}
    if architecture == "vit":
        shape = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": 4 * width}
        return transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**shape, **same, encoder_stride=patch_px))
    stages = {"depths": [layers - layers // 2, layers // 2], "num_heads": [max(1, heads // 2), heads], "embed_dim": width // 2}
    window = max(1, min(7, image_px // patch_px // 2))
    return transformers.SwinForMaskedImageModeling(transformers.SwinConfig(**stages, **same, window_size=window, encoder_stride=2 * patch_px))


def load_masked_model(name_or_path: str, dropout: float) -> PreTrainedModel:
    """A ViT, DeiT or Swin that fills in hidden patches. Raises TuningError, for a BEiT with the reason."""
    if getattr(_config_of(name_or_path), "model_type", None) == "beit":
        raise TuningError(
            f"{name_or_path}: BEiT learns masked pictures as the tokens of DALL-E's tokenizer, which is not distributed with it, so it cannot be "
            "trained here; name it as start_encoder of toc_titler, and start toc_encoder from a ViT or a Swin"
        )
    return load_model(name_or_path, transformers.AutoModelForMaskedImageModeling, **dict.fromkeys(_DROPOUTS, dropout))


def _config_of(name_or_path: str | Path) -> Any:
    """The configuration of a model; None where there is none, and who loads the model says why."""
    try:
        return transformers.AutoConfig.from_pretrained(str(name_or_path))
    except (OSError, ValueError, KeyError):
        return None


def new_processor(side_px: int) -> Any:
    """A processor that makes pictures `side_px` wide and high and brings them to [-1, 1]. It needs Pillow only, and every transformers loads it."""
    # From version 5 on this name is the one without torchvision; it saves itself under the name that version 4 knows as well.
    kind = getattr(transformers, "ViTImageProcessorPil", None) or transformers.ViTImageProcessor
    return kind(size={"height": side_px, "width": side_px}, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def load_encoder(name_or_path: str | Path, dropout: float, *, new: bool = False) -> PreTrainedModel:
    """The part of a picture model that sees, such as that of a masked image model. new: new weights in its shape."""
    return _loaded(name_or_path, transformers.AutoModel, new, **dict.fromkeys(_DROPOUTS, dropout))


def load_decoder(name_or_path: str | Path, dropout: float, *, new: bool = False) -> PreTrainedModel:
    """A causal model that also looks at an encoder: its attention to it is new, everything else as trained. new: new weights in its shape."""
    dropouts = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout)
    return _loaded(name_or_path, transformers.AutoModelForCausalLM, new, is_decoder=True, add_cross_attention=True, **dropouts)


def _loaded(name_or_path: str | Path, kind: Any, new: bool, **changes: Any) -> PreTrainedModel:
    if (config := _config_of(name_or_path)) is None:
        return load_model(name_or_path, kind)
    for name, value in changes.items():
        setattr(config, name, value)
    model: PreTrainedModel = kind.from_config(config) if new else load_model(name_or_path, kind, config=config)
    return model


def put_together(encoder: PreTrainedModel, decoder: PreTrainedModel, tokenizer: Any, max_tokens: int) -> VisionEncoderDecoderModel:
    """One model from the two, their tensors as they are, that begins and ends titles as the tokenizer says.

    max_tokens: of a title with its beginning and end. From two models and not from their configurations, which would start with random weights; in
    some versions of transformers (5.17) `from_encoder_decoder_pretrained` cannot do it. How it searches is how the first archive's titler did.
    """
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    ends = {"decoder_start_token_id": start, "bos_token_id": start, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    for name, value in {**ends, "vocab_size": decoder.config.vocab_size}.items():
        setattr(model.config, name, value)
    # A start or a pad in the middle of a title means nothing.
    unwritten = sorted({start, tokenizer.pad_token_id} - {tokenizer.eos_token_id}) or None
    search = {"num_beams": 4, "no_repeat_ngram_size": 3, "length_penalty": 2.0, "early_stopping": True, "max_new_tokens": max_tokens - 1}
    model.generation_config = transformers.GenerationConfig(**ends, **search, suppress_tokens=unwritten)
    return model
