"""Byte-level BPE from texts, as GPT-2's (Radford et al. 2019): any text has tokens, and none is unknown."""

from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from training.fine_tuning.examples import TuningError

END, PAD = "<|endoftext|>", "<|pad|>"
# GPT-2 begins and ends a document with the same token, and pads must be another: else no end is learnt.
CAUSAL = {"bos_token": END, "eos_token": END, "pad_token": PAD}


def train_bpe(texts: Sequence[str], vocabulary_size: int, specials: Mapping[str, str], *, template: str = "$A") -> PreTrainedTokenizerFast:
    """At most `vocabulary_size` tokens, the same for the same texts. Raises TuningError where the 256 bytes have no room.

    specials: tokens by role, such as CAUSAL; they have the first ids. template: what is put around a text: "<|endoftext|> $A".
    """
    names, alphabet = list(dict.fromkeys(specials.values())), sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocabulary_size < len(alphabet) + len(names):
        raise TuningError(f"vocabulary_size must be at least {len(alphabet) + len(names)}: bytes and special tokens, found {vocabulary_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary_size, special_tokens=names, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    return wrapped(tokenizer, specials, template=template)


def wrapped(tokenizer: Tokenizer, specials: Mapping[str, str], *, template: str) -> PreTrainedTokenizerFast:
    """`tokenizer` for transformers, with the special tokens of `specials` (added where it has not got them) and `template` around every text."""
    names = list(dict.fromkeys(specials.values()))
    tokenizer.add_special_tokens([token for token in names if tokenizer.token_to_id(token) is None])
    used = [(token, tokenizer.token_to_id(token)) for token in names if token in template.split()]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=used)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **specials)
