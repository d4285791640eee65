"""The core of all fine-tunings: batches cut to fit, early stopping with the best weights, optimizers, and a state that says everything."""

import copy
from collections.abc import Sequence

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration, ViTConfig, ViTForMaskedImageModeling

from stages.reporting import Reporter
from tests.training.conftest import RecordingReporter
from tests.training.gans.recorded_steps import reads_counted
from training.fine_tuning.options import FineTuning
from training.fine_tuning.packing import causal_loss
from training.fine_tuning.trainer import FineTuner, Task, build_optimizers
from training.loop.compiling import Compiled, compilations
from training.loop.devices import Devices
from training.loop.loop import TrainingError
from training.words.titles.data import Titles

CPU = Devices(torch.device("cpu"))


def model() -> GPT2LMHeadModel:
    torch.manual_seed(1)
    return GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0))


def titles(number: int, seed: int = 0) -> Titles:
    random = torch.Generator().manual_seed(seed)
    lengths = [3 + index % 8 for index in range(number)]
    documents = [torch.randint(2, 30, (length,), generator=random).tolist() for length in lengths]
    return Titles([""] * number, documents, 1, 12)


def tuner(loss=causal_loss, *, valid: int = 8, reporter: Reporter | None = None, measure=lambda *_: {}, **options) -> FineTuner:
    config = FineTuning(**{"batch_size": 12, "dropout": 0.0, "learning_rate": 1e-2, "total_samples": 5000, **options})
    network = model()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = config.dropout
    task = Task(network, titles(24), titles(valid, 5), loss, measure=measure, buckets=False)
    return FineTuner(task, config, CPU, reporter or Reporter())


class NotEnoughMemory:
    """A loss that fits documents up to a number of rows, as the GPU's memory would; it fails after having worked on the batch."""

    def __init__(self, most: int) -> None:
        self.most, self.sizes = most, list[int]()

    def __call__(self, network, batch):
        documents = int((batch["position_ids"] == 0).logical_and(batch["documents"] > 0).sum())
        self.sizes.append(documents)
        total, number = causal_loss(network, batch)
        if documents > self.most:
            raise torch.OutOfMemoryError("tried to allocate more than there is")
        return total, number


def weights_after(steps: int, trained: FineTuner) -> dict[str, torch.Tensor]:
    for _ in range(steps):
        assert not trained.step().skipped
    return trained.model.state_dict()


def assert_close(weights, expected, rtol: float = 1e-4) -> None:
    for name, tensor in expected.items():
        assert (weights[name] - tensor).norm() <= rtol * max(1.0, float(tensor.norm())), name


def test_what_does_not_fit_is_halved_told_once_and_learns_the_same():
    reporter, loss = RecordingReporter(), NotEnoughMemory(most=4)
    cut = tuner(loss, reporter=reporter)
    whole = tuner()
    assert_close(weights_after(5, cut), weights_after(5, whole))
    # Twelve, then six did not fit; from then on three at once.
    assert loss.sizes[:3] == [12, 6, 3] and set(loss.sizes[3:]) == {3}
    resumed = tuner(NotEnoughMemory(most=4))
    resumed.load_state_dict(cut.state_dict())
    assert resumed.at_once == cut.at_once == 3
    assert [line for line in reporter.lines if "do not fit the memory" in line] == reporter.lines and len(reporter.lines) == 1


def test_an_example_that_never_fits_is_an_error():
    with pytest.raises(TrainingError, match="one example alone does not fit the memory.*smaller model"):
        tuner(NotEnoughMemory(most=0)).step()


@pytest.mark.parametrize("at_once", [1, 5, 12])
def test_however_a_batch_is_cut_loss_and_gradient_are_those_of_the_whole(at_once):
    outcomes = [tuner(examples_at_once=size).step() for size in (0, at_once)]
    for name in ("loss", "gradient_norm"):
        assert float(outcomes[1].values[name]) == pytest.approx(float(outcomes[0].values[name]), rel=1e-4)


class Meter:
    """Of a device on which a step holds 1000 bytes and 100 for each example that is worked on at once."""

    def __init__(self, trained: FineTuner, capacity: int) -> None:
        self.trained, self.bytes, self.sizes = trained, capacity, list[int]()

    def peak(self, work) -> int:
        seen, plain = list[int](), self.trained.loss._now

        def noted(network, batch):
            seen.append(int((batch["position_ids"] == 0).logical_and(batch["documents"] > 0).sum()))
            return plain(network, batch)

        self.trained.loss._now = noted
        work()
        self.trained.loss._now = plain
        self.sizes += seen
        return 1000 + 100 * max(seen)

    def capacity(self) -> int:
        return self.bytes


def test_as_many_examples_go_at_once_as_a_measurement_says_fit_and_nothing_is_learned_by_it():
    reporter = RecordingReporter()
    measured, whole = tuner(reporter=reporter, dropout=0.1), tuner(dropout=0.1)
    later = 8 * sum(parameter.numel() for parameter in measured.parameters)
    meter, state = Meter(measured, later + 1000 + 100 * 5 + 50), torch.get_rng_state()
    model = measured.fit_memory(meter)
    assert (model.fixed, model.each, measured.at_once) == (later + 1000, 100, 5) and max(meter.sizes) < 12
    assert any("12 examples at once would not fit the memory; 5 at once do" in line for line in reporter.lines)
    assert torch.equal(torch.get_rng_state(), state) and measured.order.place == 0 and measured.samples_seen == 0
    assert all(torch.equal(tensor, whole.model.state_dict()[name]) for name, tensor in measured.model.state_dict().items())
    roomy = tuner()
    roomy.fit_memory(Meter(roomy, 10**9))
    assert roomy.at_once == 12


def test_examples_that_do_not_fit_are_refused_before_the_first_step_with_those_that_would():
    trained = tuner(examples_at_once=6)
    later = 8 * sum(parameter.numel() for parameter in trained.parameters)
    with pytest.raises(TrainingError, match="6 examples at once need.*set examples_at_once to 4 or less"):
        trained.fit_memory(Meter(trained, later + 1000 + 450))
    with pytest.raises(TrainingError, match="not even one fits"):
        trained.fit_memory(Meter(trained, later))


@pytest.mark.parametrize("options", [{}, {"examples_at_once": 1}, {"optimizer": "muon", "ema_half_life_samples": 100}])
def test_no_number_is_read_in_a_step(options):
    trained = tuner(**options)
    trained.step()
    for _ in range(2):
        with reads_counted() as reads:
            outcome = trained.step()
        assert reads == [] and not bool(outcome.skipped)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_of_another_process_that_is_not_finite_is_left_out_to_the_bit(optimizer):
    class Others(Devices):
        """Another process has a loss that is not finite; its gradients are."""

        def sum(self, values: torch.Tensor) -> torch.Tensor:
            return values + (values.dim() == 0)

    def everything(trained: FineTuner) -> list[torch.Tensor]:
        states = [value for one in trained.optimizers for state in one.state.values() for value in state.values()]
        return [tensor.clone() for tensor in (*trained.model.state_dict().values(), *states)]

    trained, untouched = (tuner(optimizer=optimizer, final_learning_rate_fraction=1.0) for _ in range(2))
    # The very first step too, whose moments are yet to come.
    for _ in range(2):
        alone, trained.devices = trained.devices, Others(CPU.device)
        before = everything(trained)
        assert bool(trained.step().skipped)
        assert all(map(torch.equal, everything(trained), before))
        trained.devices = alone
        assert not bool(trained.step().skipped)
    # What was taken is what would have been taken had there been no other steps: those of the second and the fourth batch.
    for _ in range(2):
        untouched.order.next()
        untouched.step()
    assert_close(trained.model.state_dict(), untouched.model.state_dict(), rtol=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor", "ignore:.*autograd.function.Function.*should not be instantiated")
def test_twenty_compiled_steps_are_those_of_the_plain_path_and_two_compilations_do():
    compiled, plain, before = tuner(), tuner(), compilations()
    compiled.loss = Compiled(causal_loss, "loss", "on", CPU.device, backend="eager")
    for _ in range(20):
        values = [one.step().values for one in (compiled, plain)]
        assert float(values[0]["loss"]) == pytest.approx(float(values[1]["loss"]), rel=1e-3)
    assert compiled.loss.reason is None
    assert 1 <= compilations() - before <= 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_a_compiler_that_fails_costs_a_word_and_the_step_is_that_of_the_plain_path(caplog):
    def broken(graph, inputs):
        raise RuntimeError("no compiler here")

    compiled, plain = tuner(), tuner()
    compiled.loss = Compiled(causal_loss, "loss", "on", CPU.device, backend=broken)
    assert_close(weights_after(2, compiled), weights_after(2, plain), rtol=1e-6)
    assert not compiled.loss.is_on and sum("the compiler failed" in line for line in caplog.messages) == 1


def test_operations_are_told_for_each_sample():
    network = model()
    task = Task(network, titles(24), titles(8, 5), causal_loss, epoch_flops=5e6)
    trained = FineTuner(task, FineTuning(batch_size=12), CPU, Reporter())
    assert trained.flops_per_sample == 5e6 / sum(trained.lengths) and tuner().flops_per_sample is None


def test_samples_are_tokens_and_the_last_batch_counts_as_what_was_left():
    trained = tuner(total_samples=100)
    lengths = trained.lengths
    peek = copy.deepcopy(trained.order)
    assert trained.step().samples == sum(lengths[index] for index in peek.next())
    assert trained.step().samples == 100 - sum(lengths[index] for index in copy.deepcopy(trained).order._batches[0])
    assert trained.samples_seen == 100


def test_early_stopping_keeps_the_best_weights_and_says_why():
    trained = tuner(early_stopping_evaluations=2, learning_rate=3e-2)
    best, losses = None, []
    while trained.why_done() is None:
        trained.step()
        losses.append(trained.evaluate(trained.judged_model())["validation_loss"])
        if losses[-1] == min(losses):
            best = copy.deepcopy(trained.model.state_dict())
    # Random documents cannot be foretold, so learning others by heart makes it worse.
    assert losses.index(min(losses)) == len(losses) - 3 and min(losses) == trained.best_loss
    assert "has not fallen below" in str(trained.why_done()) and "2 evaluations" in str(trained.why_done())
    resumed = tuner(early_stopping_evaluations=2, learning_rate=3e-2)
    resumed.load_state_dict(copy.deepcopy(trained.state_dict()))
    assert resumed.why_done() == trained.why_done()
    for one in (trained, resumed):
        assert all(torch.equal(tensor, best[name]) for name, tensor in one.final_model().state_dict().items())


def test_the_average_is_what_is_judged_and_kept():
    trained = tuner(ema_half_life_samples=500)
    weights_after(3, trained)
    judged, last = trained.judged_model().state_dict(), {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    assert not torch.equal(judged["transformer.wte.weight"], last["transformer.wte.weight"])
    assert all(torch.equal(tensor, judged[name]) for name, tensor in trained.final_model().state_dict().items())


def test_the_task_measures_the_examples_that_were_judged():
    seen: list[Sequence[int]] = []
    trained = tuner(valid=20, evaluate_at_most=6, measure=lambda network, loss, judged: seen.append(judged) or {"twice": 2 * loss})
    values = trained.evaluate(trained.judged_model())
    assert len(set(seen[0])) == 6 and values["twice"] == 2 * values["validation_loss"]
    batch = trained.task.valid.batch(seen[0], torch.Generator())
    total, number = causal_loss(trained.model, batch)
    assert values["validation_loss"] == pytest.approx(float(total.detach() / number), rel=1e-5)


def test_without_held_out_examples_nothing_is_measured_and_nothing_stops():
    trained = tuner(valid=0, early_stopping_evaluations=1)
    assert trained.evaluate(trained.judged_model()) == {} and trained.why_done() is None


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_restored_training_goes_on_with_the_same_bits(optimizer):
    options = {"optimizer": optimizer, "ema_half_life_samples": 300, "dropout": 0.1, "weight_decay": 0.1}
    first, second = tuner(**options), tuner(**options)
    weights_after(4, first)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    results = []
    for trained in (first, second):
        torch.manual_seed(9)
        results.append((weights_after(4, trained), trained.ema.state_dict()))
    for one, other in zip(*results, strict=True):
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def names_by_optimizer(network, **options) -> dict[str, set[str]]:
    optimizers = build_optimizers(network, FineTuning(**options))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {type(one).__name__: {names[id(parameter)] for group in one.param_groups for parameter in group["params"]} for one in optimizers}


def test_muon_takes_the_hidden_matrices_and_adamw_the_rest():
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, tie_word_embeddings=False))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 8, "patch_size": 4}
    vit = ViTForMaskedImageModeling(ViTConfig(**sizes, encoder_stride=4))
    for network in (model(), t5, vit):
        taken = names_by_optimizer(network, optimizer="muon")
        matrices = {name for name, parameter in network.named_parameters() if parameter.dim() == 2}
        outer = {name for name in matrices if any(part in name for part in ("embed", "wte", "wpe", "attention_bias", "lm_head", "shared"))}
        assert taken["Muon"] == matrices - outer and taken["Muon"]
        assert taken["AdamW"] == {name for name, _ in network.named_parameters()} - taken["Muon"]
    assert names_by_optimizer(model()).keys() == {"AdamW"}


def test_decay_shrinks_matrices_only():
    (adamw,) = build_optimizers(model(), FineTuning(weight_decay=0.3))
    assert {parameter.dim(): group["weight_decay"] for group in adamw.param_groups for parameter in group["params"]} == {2: 0.3, 1: 0.0}


def test_the_rate_rises_over_the_warm_up_and_falls_in_a_straight_line():
    trained = tuner(total_samples=1000, warmup_samples=200, learning_rate=1e-3)
    rates = {}
    while trained.samples_seen < 1000:
        seen = trained.samples_seen
        rates[seen] = trained.step().values["learning_rate"]
    assert rates[0] == pytest.approx(1e-3 / 200)
    after = [(seen, rate) for seen, rate in rates.items() if seen >= 200]
    assert all(rate == pytest.approx(1e-3 * (1 - (seen - 200) / 800)) for seen, rate in after) and len(after) > 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dropout": 1.5}, "dropout must lie in"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"weight_decay": -1}, "weight_decay"),
    ],
)
def test_impossible_options_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        FineTuning(**values)
