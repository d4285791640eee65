"""PolyGPT as a model of Hugging Face `transformers`: what `AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)` gives.

Together with networks.py it becomes modeling_polygpt.py in the model's folder (self_contained.py), which runs without this project. So nothing here
may need anything of it but the network. Only there does the file run: a release of transformers decides no byte of a model, so what stages import
must not lead to it, and here its import is for type checkers.
"""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from training.polymers.gpt.networks import PolyGPT, PolyGPTShape

if TYPE_CHECKING:
    from transformers import DynamicCache, GenerationMixin, PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import CausalLMOutputWithPast


class PolyGPTTransformersConfig(PretrainedConfig):
    """config.json, as `transformers` reads it: the fields of PolyGPTShape."""

    model_type = "polygpt"
    attribute_map = {
        "vocab_size": "vocabulary_size",
        "hidden_size": "width",
        "num_hidden_layers": "layers",
        "num_attention_heads": "heads",
        "max_position_embeddings": "maximum_tokens",
    }

    def __init__(self, **values: Any) -> None:
        for field in fields(PolyGPTShape):
            if field.name in values:
                setattr(self, field.name, values.pop(field.name))
        values.setdefault("tie_word_embeddings", False)
        super().__init__(**values)

    def shape(self) -> PolyGPTShape:
        values: dict[str, Any] = {}
        for field in fields(PolyGPTShape):
            value = getattr(self, field.name)
            values[field.name] = tuple(value) if isinstance(value, list) else value
        return PolyGPTShape(**values)


class _Cache:
    """The network's view of a cache of `transformers`."""

    def __init__(self, cache: DynamicCache) -> None:
        self.cache, self.length = cache, cache.get_seq_length()

    def place(self, count: int) -> tuple[slice, None]:
        return slice(self.length, self.length + count), None

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        return self.cache.update(keys, values, layer)


class PolyGPTForCausalLM(PreTrainedModel, GenerationMixin):
    """The network behind the interface of `transformers`; `generate` writes molecules, with `properties=model.wanted(mol_wt=200.0)` on request."""

    config_class = PolyGPTTransformersConfig
    base_model_prefix = "model"

    def __init__(self, config: PolyGPTTransformersConfig) -> None:
        super().__init__(config)
        self.model = PolyGPT(config.shape())
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """The network has initialised itself."""

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.model.token_embedding

    def wanted(self, **properties: float) -> Tensor:
        """Properties by name, in the units of the dataset, as `forward` and `generate` take them: [1, P], NaN where nothing is wanted."""
        values, mask = self.model.shape.standardise(properties)
        return torch.where(mask, values, torch.full_like(values, float("nan"))).unsqueeze(0).to(self.device)

    def told(self, input_ids: Tensor) -> dict[str, Tensor]:
        """What the auxiliary heads read off whole molecules [B, T], <bos> … <eos>, then <pad>: by property [B], in the units of the dataset."""
        shape = self.model.shape
        told = self.model.tell(input_ids, input_ids != self.generation_config.pad_token_id)
        return {name: told[:, row] * shape.property_std[row] + shape.property_mean[row] for row, name in enumerate(shape.properties)}

    def forward(
        self,
        input_ids: Tensor,
        properties: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: DynamicCache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [B, T, V] of the token after each of `input_ids` [B, T], which begin with <bos>.

        properties: [B, P] from `wanted`. labels: [B, T] as in other causal models: the same ids, -100 where nothing is to be learned.
        """
        if attention_mask is not None and not bool(attention_mask[:, 0].all()):
            raise ValueError("PolyGPT takes no padding on the left; give prompts of one length, or pad on the right")
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        # The position of the wanted properties comes before the first token, and stays in the cache.
        cache = _Cache(past_key_values) if past_key_values is not None else None
        begins = cache is None or cache.length == 0
        hidden = self.model(input_ids, self._prefix(input_ids, properties) if begins else None, cache)
        logits = self.model.logits(hidden[:, 1:] if begins else hidden)
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, past_key_values: DynamicCache | None = None, properties: Tensor | None = None, **options: Any
    ) -> dict[str, Any]:
        has_begun = past_key_values is not None and past_key_values.get_seq_length() > 0
        given = {"attention_mask": options.get("attention_mask"), "use_cache": options.get("use_cache"), "properties": properties}
        return {"input_ids": input_ids[:, -1:] if has_begun else input_ids, "past_key_values": past_key_values, **given}

    def _prefix(self, input_ids: Tensor, properties: Tensor | None) -> Tensor:
        if properties is None:
            properties = torch.full((len(input_ids), len(self.model.shape.properties)), float("nan"), device=input_ids.device)
        return self.model.property_embedding(properties, ~properties.isnan())
