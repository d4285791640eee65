"""The networks; each defect of the first seed (GAN_TextGen) that could come back has a test of its own."""

import math

import pytest
import torch

from training.words.text_gan.config import BlockOptions, GeneratorOptions
from training.words.text_gan.networks import (
    END,
    PAD,
    START,
    UNK,
    Block,
    Discriminator,
    Generator,
    GeneratorShape,
    draw_noise,
    sinusoidal_positions,
    words_before,
)

CPU = torch.device("cpu")


def shape(**changes) -> GeneratorShape:
    sizes = {"vocabulary_size": 12, "steps": 6, "width": 8, "heads": 2, "hidden": 16, "blocks": 2, "output_blocks": 1, "noise_tokens": 3}
    return GeneratorShape(**{**sizes, **changes})


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(shape())


def sentences(number: int = 4) -> torch.Tensor:
    return torch.randint(4, 12, (number, 6), generator=random(1))


def test_positions_are_sines_and_cosines_of_the_published_wavelengths():
    """The seed's formula left its divisor out, so that all channels had one wavelength."""
    found = sinusoidal_positions(50, 6)
    for place in (0, 1, 7, 49):
        for pair in range(3):
            angle = place / 10_000 ** (2 * pair / 6)
            assert found[place, 2 * pair : 2 * pair + 2].tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-6)
    assert len({tuple(row) for row in found.tolist()}) == 50


def test_there_are_as_many_positions_as_steps_and_not_as_words():
    """The seed's positional encoding was as long as its vocabulary, and ended early where sentences were longer."""
    for words, steps in ((5, 9), (40, 3)):
        made = Generator(shape(vocabulary_size=words, steps=steps))
        assert made.positions.shape == (steps, 8)
        assert Discriminator(BlockOptions(8, 2, 16), vocabulary_size=words, steps=steps).positions.shape == (steps, 8)
        noise = draw_noise(made.shape, 2, random(), CPU, with_choices=True)
        assert made.write(noise).shape == (2, steps)


def test_no_word_is_told_by_those_behind_it(generator):
    """The seed never applied its masks."""
    words, noise = sentences(), draw_noise(generator.shape, 4, random(), CPU)
    before = generator(words_before(words), noise)
    changed = words.clone()
    changed[:, 3] = (changed[:, 3] - 4 + 1) % 8 + 4
    after = generator(words_before(changed), noise)
    # Word 3 is read at step 4 for the first time.
    assert torch.equal(before[:, :4], after[:, :4]) and not torch.isclose(before[:, 4:], after[:, 4:]).all(dim=-1).any()


def test_noise_of_later_steps_tells_nothing_of_earlier_words_but_that_of_the_sentence_does(generator):
    words, noise = sentences(), draw_noise(generator.shape, 4, random(), CPU)
    logits = generator(words_before(words), noise)
    for later in (noise._replace(steps=noise.steps.clone()), noise._replace(blocks=noise.blocks.clone())):
        for part in (later.steps[:, 4], later.blocks[:, :, 4]):
            part += 1
        found = generator(words_before(words), later)
        assert torch.equal(found[:, :4], logits[:, :4]) and not torch.equal(found[:, 4], logits[:, 4])
    everywhere = generator(words_before(words), noise._replace(everywhere=noise.everywhere + 1))
    assert not torch.isclose(everywhere[..., 4:], logits[..., 4:]).all(dim=-1).any()


def test_one_pass_over_a_sentence_gives_what_writing_it_word_by_word_gave(generator):
    noise = draw_noise(generator.shape, 32, random(), CPU, with_choices=True)
    for temperature, drawn in ((1.0, noise.choices), (0.5, noise.choices), (1.0, None), (0.0, noise.choices)):
        words = generator.write(noise._replace(choices=drawn), temperature)
        logits = generator(words_before(words), noise)
        if drawn is not None and temperature:
            logits = logits / temperature + drawn
        assert torch.equal(logits.argmax(dim=-1)[words != PAD], words[words != PAD])
        # Behind the end is nothing, and before it no <pad>, <start> or <unk>.
        for row in words.tolist():
            length = row.index(END) + 1 if END in row else 6
            assert set(row[length:]) <= {PAD} and not {PAD, START, UNK} & set(row[:length])


def test_every_block_is_run_once_and_in_its_order_whichever_training_asks(generator):
    """The seed's second forward pass ran the blocks of the first one."""
    run: list[str] = []
    for name, block in generator.named_modules():
        if isinstance(block, Block):
            block.register_forward_hook(lambda *_, name=name: run.append(name))
    noise = draw_noise(generator.shape, 2, random(), CPU)
    generator(words_before(sentences(2)), noise)
    assert run == ["blocks.0", "blocks.1", "output_blocks.0"]
    run.clear()
    written = generator.write(noise)
    assert run == ["blocks.0", "blocks.1", "output_blocks.0"] * int((written != PAD).any(dim=0).sum())


def test_noise_is_normal():
    """The seed called its uniform numbers in [0, 1) Gaussian."""
    for part in draw_noise(shape(width=16, steps=20), 200, random(), CPU)[:3]:
        assert abs(float(part.mean())) < 0.02 and abs(float(part.std()) - 1) < 0.02
        assert abs(float((part < -1.6449).float().mean()) - 0.05) < 0.01


def test_dropout_is_on_in_training_and_off_in_writing():
    """The seed's networks were in evaluation mode everywhere."""
    torch.manual_seed(0)
    made = Generator(shape(dropout=0.5))
    words, noise = sentences(), draw_noise(made.shape, 4, random(), CPU)
    made.train()
    assert not torch.equal(made(words_before(words), noise), made(words_before(words), noise))
    made.eval()
    assert torch.equal(made(words_before(words), noise), made(words_before(words), noise))


def test_draws_follow_the_softmax():
    made = Generator(shape())
    with torch.no_grad():
        made.head.weight.zero_()
        made.head.bias[:] = torch.linspace(0, 3, 12)
    noise = draw_noise(made.shape, 1500, random(), CPU, with_choices=True)
    for temperature in (1.0, 0.5):
        first = made.write(noise, temperature)[:, 0]
        wanted = (made.head.bias.masked_fill(made.never, -torch.inf) / temperature).softmax(dim=0)
        assert (first.bincount(minlength=12) / 1500 - wanted).abs().max() < 0.05


def test_gradients_reach_every_parameter_of_both(generator):
    words, noise = sentences(), draw_noise(generator.shape, 4, random(), CPU)
    for times in (None, torch.tensor([0, 1, 7, 9])):
        generator.zero_grad()
        critic = Discriminator(BlockOptions(8, 2, 16), vocabulary_size=12, steps=6, noise_steps=0 if times is None else 9)
        scores = critic(generator(words_before(words), noise).softmax(dim=-1), times)
        assert scores.shape == (4, 1)
        scores.square().sum().backward()
        for network in (generator, critic):
            assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_the_critic_sees_the_order_of_words_the_length_and_how_far_a_sentence_was_diffused():
    torch.manual_seed(0)
    critic = Discriminator(BlockOptions(8, 2, 16), vocabulary_size=12, steps=6, noise_steps=9)
    words = torch.nn.functional.one_hot(torch.tensor([[4, 5, 6, END, PAD, PAD], [5, 4, 6, END, PAD, PAD], [4, 5, 6, 7, END, PAD]]), 12).float()
    scores = critic(words, torch.zeros(3, dtype=torch.long)).flatten().tolist()
    assert len({round(score, 4) for score in scores}) == 3
    assert critic(words, torch.full((3,), 9)).flatten().tolist() != pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("changes", [{"width": 9}, {"heads": 3}, {"blocks": 0}, {"noise_tokens": 0}, {"dropout": 1.0}, {"mapping_layers": 0}])
def test_shapes_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        GeneratorOptions(**changes)
