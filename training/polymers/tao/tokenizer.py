"""A tokenizer of whole words for prompts and molecules, as plain transformers loads it; only for models from scratch.

A word is an atom or bond of a molecule, a character of a prompt in text style, or a whole wish such as `<mol_wt:264>`. Texts end with T5's `</s>`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from training.polymers.smiles import split_smiles
from training.polymers.smiles_tokenizer import SPECIAL_TOKENS, readable_tokens

# T5's: padding and the end of text are two tokens, and decoding begins with padding.
_SPECIALS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
# A whole wish, then the atoms and bonds of training/polymers/smiles.py.
_WORD = r"<[^<>]+>|\[[^\[\]]+\]|%\d\d|Br|Cl|."


def atoms_of(tokenizer: Tokenizer) -> list[str]:
    """The atoms and bonds of a SMILES tokenizer, without what it has merged of them."""
    return [token for token in readable_tokens(tokenizer)[len(SPECIAL_TOKENS) :] if len(split_smiles(token)) == 1]


def build_tokenizer(atoms: Iterable[str], prompt_pieces: Iterable[str]) -> PreTrainedTokenizerFast:
    """Ids: special tokens, `atoms`, then what of `prompt_pieces` is none of them."""
    words = dict.fromkeys([*_SPECIALS.values(), *atoms, *prompt_pieces])
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=_SPECIALS["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(_SPECIALS.values()))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **_SPECIALS)


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text, its end included."""
    return tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
