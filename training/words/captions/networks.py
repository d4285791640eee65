"""The networks of toc_encoder and toc_titler: built in the sizes of the configuration, or put together from what was trained before."""

from pathlib import Path
from typing import Any, Literal

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
    SwinConfig,
    SwinForMaskedImageModeling,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTForMaskedImageModeling,
)

from training.words.examples import WordsError
from training.words.model_folder import load_model

Architecture = Literal["vit", "swin"]
# Those that transformers trains with plain pixels as their target.
_MASKED_PIXELS = ("vit", "deit", "swin", "swinv2")


def new_masked_model(
    architecture: Architecture, *, image_px: int, patch_px: int, width: int, layers: int, heads: int, dropout: float
) -> PreTrainedModel:
    """A new masked image model. width: of a Vision Transformer; a Swin begins with half of it and doubles it once, with `layers` in two stages."""
    dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    if architecture == "vit":
        shape = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": 4 * width}
        return ViTForMaskedImageModeling(ViTConfig(**shape, **dropouts, image_size=image_px, patch_size=patch_px, encoder_stride=patch_px))
    side = image_px // patch_px
    swin = SwinConfig(
        image_size=image_px,
        patch_size=patch_px,
        embed_dim=width // 2,
        depths=[layers - layers // 2, layers // 2],
        num_heads=[max(1, heads // 2), heads],
        window_size=max(1, min(7, side // 2)),
        encoder_stride=2 * patch_px,
        **dropouts,
    )
    return SwinForMaskedImageModeling(swin)


def patch_px(model: PreTrainedModel) -> int:
    """Side of the patches that a masked image model is told about."""
    return int(model.config.patch_size)


def check_masked_model(model_type: str, where: str) -> None:
    """Raises WordsError for what transformers does not train on plain pixels."""
    if model_type == "beit":
        raise WordsError(
            f"{where}: BEiT learns masked pictures as the tokens of DALL-E's tokenizer, which is not distributed with it, so it cannot be trained "
            "here; name it as start_encoder of toc_titler, and start toc_encoder from a ViT or a Swin"
        )
    if model_type not in _MASKED_PIXELS:
        raise WordsError(f"{where}: a model of type '{model_type}'; expected one of {', '.join(_MASKED_PIXELS)}")


def config_of(name_or_path: str | Path) -> Any:
    """The configuration of a model; None where there is none, and who loads the model says why."""
    try:
        return AutoConfig.from_pretrained(str(name_or_path))
    except (OSError, ValueError, KeyError):
        return None


def load_encoder(name_or_path: str | Path, dropout: float, *, new: bool = False) -> PreTrainedModel:
    """The part of a picture model that sees, such as that of a masked image model. new: new weights in its shape."""
    dropouts = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), dropout)
    config = config_of(name_or_path)
    if config is None or not new:
        return load_model(name_or_path, AutoModel, **dropouts)
    for name, value in dropouts.items():
        setattr(config, name, value)
    fresh: PreTrainedModel = AutoModel.from_config(config)
    return fresh


def load_decoder(name_or_path: str | Path, dropout: float, *, new: bool = False) -> PreTrainedModel:
    """A causal model that also looks at an encoder: its attention to it is new, everything else as trained. new: new weights in its shape."""
    config = config_of(name_or_path)
    if config is None:
        return load_model(name_or_path, AutoModelForCausalLM)
    changes = {"is_decoder": True, "add_cross_attention": True, **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout)}
    for name, value in changes.items():
        setattr(config, name, value)
    if not new:
        return load_model(name_or_path, AutoModelForCausalLM, config=config)
    fresh: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return fresh


def put_together(encoder: PreTrainedModel, decoder: PreTrainedModel, tokenizer: Any, max_tokens: int) -> VisionEncoderDecoderModel:
    """One model from the two, their tensors as they are, that begins and ends titles as the tokenizer says.

    max_tokens: of a title with its beginning and end. From two models and not from their configurations, which would start with random weights; in
    some versions of transformers (5.17) `from_encoder_decoder_pretrained` cannot do it. How it searches is how the first archive's titler did.
    """
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    ends = {"decoder_start_token_id": start, "bos_token_id": start, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    for name, value in ends.items():
        setattr(model.config, name, value)
    model.config.vocab_size = decoder.config.vocab_size
    search = {"num_beams": 4, "no_repeat_ngram_size": 3, "length_penalty": 2.0, "early_stopping": True}
    # A start or a pad in the middle of a title means nothing.
    unwritten = sorted({start, tokenizer.pad_token_id} - {tokenizer.eos_token_id}) or None
    model.generation_config = GenerationConfig(**ends, **search, max_new_tokens=max_tokens - 1, suppress_tokens=unwritten)
    return model
