"""Texts written by tiny models of each kind: greedy, by beams, drawn; reproducible, bounded, and drawn in the right proportions."""

from collections import Counter

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)
from transformers.utils import logging

from training.fine_tuning import generation
from training.fine_tuning.generation import ChosenByNumber, Generation, GenerationError, Written, generate, tokenize, write

WORDS = ["<pad>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz "]
VOCABULARY = len(WORDS)
DRAWN = Generation("sample", max_new_tokens=12)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="a"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Split("", "isolated"), decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def gpt2(seed: int = 0) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    # Large random weights, so that greedy and beams differ and texts depend on their prompts.
    sizes = {"vocab_size": VOCABULARY, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.5}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=2, pad_token_id=0)).eval()


def t5() -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "initializer_factor": 3.0}
    return T5ForConditionalGeneration(T5Config(**sizes, pad_token_id=0, eos_token_id=2, decoder_start_token_id=0)).eval()


def titler() -> VisionEncoderDecoderModel:
    torch.manual_seed(3)
    encoder = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, gpt2(3).config)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    return VisionEncoderDecoderModel(config=config).eval()


def prompts(tokenizer, *texts: str) -> dict[str, torch.Tensor]:
    return tokenize(tokenizer, texts, most_tokens=16, pad="left", start=1).inputs


def test_a_sampled_text_is_the_same_alone_and_in_a_batch_of_any_size(tokenizer):
    texts = ["a", "bcd", "", "hello there", "xyz"]
    together = generate(gpt2(), tokenizer, prompts(tokenizer, *texts), Generation("sample", max_new_tokens=12, returns=2), seed=5)
    for size in (1, 2, 3):
        settings = Generation("sample", max_new_tokens=12, returns=2, batch_size=size)
        assert generate(gpt2(), tokenizer, prompts(tokenizer, *texts), settings, seed=5) == together
    alone = [generate(gpt2(), tokenizer, prompts(tokenizer, text), DRAWN, seed=5, first=index)[0][0] for index, text in enumerate(texts)]
    assert alone == [found[0] for found in together]
    assert all(found[0] != found[1] for found in together)
    assert generate(gpt2(), tokenizer, prompts(tokenizer, *texts), Generation("sample", max_new_tokens=12, returns=2), seed=6) != together


@pytest.mark.parametrize("settings", [Generation(max_new_tokens=8), Generation("beam", beams=3, returns=2, max_new_tokens=8), DRAWN])
def test_encoder_decoders_write_as_many_texts_as_asked_for_each_item(tokenizer, settings):
    pictures = {"pixel_values": torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
    for model, inputs in ((t5(), tokenize(tokenizer, ["abc", "de", "f"], most_tokens=9).inputs), (titler(), pictures)):
        found = generate(model, tokenizer, inputs, settings, seed=0)
        assert [len(texts) for texts in found] == [settings.returns] * 3
        assert not any(special in text for texts in found for text in texts for special in WORDS[:3])
        assert any(text for texts in found for text in texts)


@pytest.mark.parametrize("settings", [Generation(max_new_tokens=8), Generation("beam", beams=3, length_penalty=0.5, max_new_tokens=8), DRAWN])
def test_transformers_has_nothing_to_warn_of(tokenizer, settings, caplog, monkeypatch):
    # It warns once in a process, so what it has said before is forgotten.
    monkeypatch.setattr(logging.get_logger("transformers"), "propagate", True)
    logging.get_logger("transformers").warning_once.__func__.cache_clear()
    pictures = {"pixel_values": torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
    started_with_pad = titler()
    started_with_pad.config.decoder_start_token_id = 0
    cases = [(gpt2(), prompts(tokenizer, "a", "", "bcd")), (t5(), tokenize(tokenizer, ["abc", "d"], most_tokens=9).inputs)]
    for model, inputs in (*cases, (titler(), pictures), (started_with_pad, pictures)):
        for name, value in {"length_penalty": 0.7, "top_p": 0.8, "temperature": 0.5}.items():
            setattr(model.generation_config, name, value)
        generate(model, tokenizer, inputs, settings, seed=0)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("transformers")] == []


def test_tokens_are_drawn_as_often_as_the_softmax_says_and_top_k_leaves_the_rest_out(tokenizer):
    model, inputs = gpt2(), prompts(tokenizer, "q")
    with torch.no_grad():
        probabilities = model(**inputs).logits[0, -1, 2:].softmax(-1)  # pads and starts are never written
    many = {name: values.repeat(4000, 1) for name, values in inputs.items()}
    drawn = write(model, tokenizer, many, Generation("sample", max_new_tokens=1, batch_size=4000), seed=1)
    counts = Counter(written.text for texts in drawn for written in texts)
    for index in probabilities.topk(8).indices.tolist():
        expected, text = float(probabilities[index]), "q" + WORDS[index + 2].replace("</s>", "")
        assert counts[text] / 4000 == pytest.approx(expected, abs=4 * (expected / 4000) ** 0.5)
    assert not any("<" in text for text in counts)
    two = write(model, tokenizer, many, Generation("sample", top_k=2, max_new_tokens=1, batch_size=4000), seed=1)
    assert len({written.text for texts in two for written in texts}) == 2


def test_low_temperature_and_little_top_p_are_greedy(tokenizer):
    inputs = prompts(tokenizer, "ab", "x")
    greedy = generate(gpt2(), tokenizer, inputs, Generation(max_new_tokens=10), seed=0)
    assert generate(gpt2(), tokenizer, inputs, Generation("sample", top_p=1e-6, max_new_tokens=10), seed=3) == greedy
    assert generate(gpt2(), tokenizer, inputs, Generation("sample", temperature=1e-4, max_new_tokens=10), seed=3) == greedy


def test_no_n_gram_comes_twice(tokenizer):
    found = write(gpt2(), tokenizer, prompts(tokenizer, "a"), Generation(no_repeat_ngram=2, max_new_tokens=24), seed=0)[0][0].text
    pairs = [found[index : index + 2] for index in range(len(found) - 1)]
    assert len(pairs) == len(set(pairs))


def test_a_text_that_ends_says_so_and_one_that_is_cut_does_not(tokenizer):
    model = gpt2()
    with torch.no_grad():
        # All tokens alike: greedy takes the first that means something, which is the end, and a drawn text ends after about 28.
        model.lm_head.weight.zero_()
    assert write(model, tokenizer, prompts(tokenizer, "a"), Generation(max_new_tokens=5), seed=0)[0][0] == Written("a", 1, True)
    many = prompts(tokenizer, *["a"] * 40)
    drawn = [text for texts in write(model, tokenizer, many, Generation("sample", max_new_tokens=28), seed=0) for text in texts]
    assert 15 <= sum(text.ended for text in drawn) <= 35
    assert all(len(text.text) == text.tokens for text in drawn if text.ended)
    assert all((text.tokens, len(text.text)) == (28, 29) for text in drawn if not text.ended)


def test_too_few_positions_are_refused_with_what_would_fit(tokenizer):
    with pytest.raises(GenerationError, match=r"has 32 positions.*lower max_new_tokens to 30"):
        generate(gpt2(), tokenizer, prompts(tokenizer, "a"), Generation(max_new_tokens=64), seed=0)


def test_long_prompts_are_cut_and_counted_and_empty_ones_need_a_start(tokenizer):
    cut = tokenize(tokenizer, ["abcdef", "ab", "z" * 10_000_000], most_tokens=4)
    assert cut.truncated == 2
    assert cut.inputs["attention_mask"].sum(1).tolist() == [4, 2, 4]
    assert tokenize(tokenizer, ["a</s>", "abcdef</s>", "abcd"], most_tokens=3).inputs["input_ids"].tolist() == [[3, 2, 0], [3, 4, 2], [3, 4, 5]]
    with pytest.raises(GenerationError, match="prompt 1 has no token"):
        tokenize(tokenizer, ["a", ""], most_tokens=4)


def test_a_number_on_the_last_border_still_finds_a_token_that_is_allowed():
    scores = torch.tensor([[0.0, -torch.inf, 0.0, -torch.inf]])
    for number, token in ((0.0, 0), (0.49, 0), (0.51, 2), (1.0, 0)):
        assert int(ChosenByNumber(torch.tensor([[number]]), 0)(torch.empty(1, 0), scores).argmax()) == token


@pytest.mark.parametrize(
    "wrong", [{"returns": 2}, {"strategy": "beam", "beams": 2, "returns": 3}, {"top_p": 0.0}, {"temperature": 0.0}, {"top_k": -1}]
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="found"):
        Generation(**wrong)


def test_a_model_in_training_is_in_training_afterwards(tokenizer):
    model = gpt2().train()
    generate(model, tokenizer, prompts(tokenizer, "a"), DRAWN, seed=0)
    assert model.training


@pytest.mark.parametrize("settings", [Generation(max_new_tokens=8), Generation("sample", max_new_tokens=8, returns=2)])
def test_a_cache_of_full_length_writes_the_same_texts(tokenizer, settings):
    for model, inputs in ((gpt2(), prompts(tokenizer, "a", "bcd", "hello")), (t5(), tokenize(tokenizer, ["abc", "de", "f"], most_tokens=9).inputs)):
        found = [write(model, tokenizer, inputs, settings, seed=4, cache=cache) for cache in ("auto", "static")]
        assert found[0] == found[1]


def test_where_a_static_cache_fails_texts_are_written_without_and_it_is_said_once(tokenizer, monkeypatch, caplog):
    expected = write(gpt2(), tokenizer, prompts(tokenizer, "a"), DRAWN, seed=4)
    model, plain = gpt2(), GPT2LMHeadModel.generate

    def generate_without_static(self, *arguments, **named):
        if named["generation_config"].cache_implementation == "static":
            raise RuntimeError("no compiler here")
        return plain(self, *arguments, **named)

    monkeypatch.setattr(generation, "_without_static", [])
    monkeypatch.setattr(generation, "is_static_by_default", lambda model, settings: True)
    monkeypatch.setattr(GPT2LMHeadModel, "generate", generate_without_static)
    assert [write(model, tokenizer, prompts(tokenizer, "a"), DRAWN, seed=4) for _ in range(2)] == [expected] * 2
    assert sum("without a compiled step" in line for line in caplog.messages) == 1
    with pytest.raises(RuntimeError, match="no compiler here"):
        write(model, tokenizer, prompts(tokenizer, "a"), DRAWN, seed=4, cache="static")
