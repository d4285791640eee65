"""Texts written by tiny models of each kind: greedy, by beams, drawn; reproducible, bounded, and drawn in the right proportions."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)
from transformers.utils import logging

from tests.training.gans.recorded_steps import Tape
from training.fine_tuning import captured_texts, generation
from training.fine_tuning.captured_texts import without_repeats
from training.fine_tuning.generation import Drawn, Generation, GenerationError, Written, generate, tokenize, write

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
        assert int(Drawn(Generation("sample"), torch.tensor([[number]]), 0)(torch.empty(1, 0), scores).argmax()) == token


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


def cases(tokenizer) -> dict:
    """A model of each kind and what it is given."""
    pictures = {"pixel_values": torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
    read = tokenize(tokenizer, ["abc", "de", "f", "ghijk"], most_tokens=9).inputs
    return {"gpt2": (gpt2(), prompts(tokenizer, "a", "bcd", "hello", "")), "t5": (t5(), read), "titler": (titler(), pictures)}


@pytest.mark.parametrize(
    "settings",
    [
        Generation(max_new_tokens=14),
        *(Generation(max_new_tokens=14, no_repeat_ngram=size) for size in (1, 2, 3)),
        Generation("sample", max_new_tokens=14, returns=2),
        Generation("sample", max_new_tokens=14, top_k=5, top_p=0.9, temperature=0.7, no_repeat_ngram=2, batch_size=3),
        *(Generation("sample", max_new_tokens=number) for number in (1, 2, 3, 4)),
        Generation("beam", max_new_tokens=14),
        Generation("beam", beams=3, returns=2, no_repeat_ngram=3, length_penalty=2.0, max_new_tokens=14),
    ],
    ids=lambda one: f"{one.strategy}-{one.max_new_tokens}-{one.no_repeat_ngram}-{one.top_k}",
)
@pytest.mark.parametrize("kind", ["gpt2", "t5", "titler"])
def test_recorded_steps_over_a_cache_of_full_length_write_the_same_texts(tokenizer, settings, kind, monkeypatch):
    (model, inputs), tape = cases(tokenizer)[kind], Tape()
    # Two beams of untrained weights may be as near as float32 rounds.
    model, inputs = model.double(), {name: values.double() if values.is_floating_point() else values for name, values in inputs.items()}
    expected = write(model, tokenizer, inputs, settings, seed=4)
    launched = write(model, tokenizer, inputs, settings, seed=4, cache="static")
    monkeypatch.setattr(generation, "recorder_for", lambda device: tape)
    assert write(model, tokenizer, inputs, settings, seed=4, cache="static") == launched == expected
    assert len({text.text for texts in expected for text in texts}) > 1 or settings.max_new_tokens < 3
    # Every step behind those that warm up, and before the last one's token, which needs no step.
    assert settings.max_new_tokens <= 3 or tape.recorded >= 1
    assert tape.played <= tape.recorded * (settings.max_new_tokens - 3)


@pytest.mark.parametrize("kind", ["gpt2", "t5", "titler"])
def test_a_rule_that_the_host_applies_holds_beside_recorded_steps(tokenizer, kind, monkeypatch):
    (model, inputs), tape = cases(tokenizer)[kind], Tape()

    def alternating(tokens, scores):
        return scores.index_fill(1, torch.arange(3 + tokens.shape[1] % 2, VOCABULARY, 2), -torch.inf)

    expected = write(model, tokenizer, inputs, DRAWN, seed=4, processors=[alternating])
    monkeypatch.setattr(generation, "recorder_for", lambda device: tape)
    assert write(model, tokenizer, inputs, DRAWN, seed=4, processors=[alternating], cache="static") == expected
    assert tape.played and expected != write(model, tokenizer, inputs, DRAWN, seed=4)


@pytest.mark.parametrize(("top_k", "top_p", "temperature"), [(0, 0.8, 1.0), (3, 1.0, 0.5), (7, 0.9, 1.7), (99, 1e-6, 1.0)])
def test_what_is_cut_is_what_transformers_cuts(top_k, top_p, temperature):
    scores = torch.randn(50, 30, generator=torch.Generator().manual_seed(0)).masked_fill(torch.arange(30) < 4, -torch.inf)
    uniforms = torch.rand(50, 1, generator=torch.Generator().manual_seed(1))
    cuts = [TemperatureLogitsWarper(temperature), *([TopKLogitsWarper(top_k)] if top_k else []), TopPLogitsWarper(top_p)]
    expected = Drawn(Generation("sample"), uniforms, 0).tokens(LogitsProcessorList(cuts)(torch.empty(50, 0), scores), uniforms)
    drawn = Drawn(Generation("sample", top_k=top_k, top_p=top_p, temperature=temperature), uniforms, 0).tokens(scores, uniforms)
    assert torch.equal(drawn, expected)


@settings_of_hypothesis(deadline=None, max_examples=40)
@given(st.data())
def test_no_tokens_come_twice_as_transformers_has_it(data):
    size, length, count = (data.draw(st.integers(1, most)) for most in (4, 12, 12))
    tokens = torch.tensor(data.draw(st.lists(st.lists(st.integers(0, 4), min_size=length, max_size=length), min_size=1, max_size=3)))
    count, scores = min(count, length), torch.zeros(len(tokens), 5)
    expected = NoRepeatNGramLogitsProcessor(size)(tokens[:, :count], scores)
    assert torch.equal(without_repeats(scores, tokens, torch.tensor([count]), size), expected)


def test_where_a_static_cache_fails_texts_are_written_without_and_it_is_said_once(tokenizer, monkeypatch, caplog):
    model, inputs = gpt2(), prompts(tokenizer, "a")
    expected = write(model, tokenizer, inputs, DRAWN, seed=4)

    def fails(**_):
        raise RuntimeError("no such cache here")

    monkeypatch.setattr(generation, "_without_static", [])
    monkeypatch.setattr(generation, "is_static_by_default", lambda device: True)
    monkeypatch.setattr(captured_texts, "_Layers", fails)
    assert [write(model, tokenizer, inputs, DRAWN, seed=4) for _ in range(2)] == [expected] * 2
    assert sum("one of full length failed" in line for line in caplog.messages) == 1
    with pytest.raises(RuntimeError, match="no such cache here"):
        write(model, tokenizer, inputs, DRAWN, seed=4, cache="static")
