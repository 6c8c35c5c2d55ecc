import copy
import math

import pytest
import torch
from support.steps import batch, learner
from torch.nn.parallel import DistributedDataParallel

from retinanet.dataset.samples import Batch
from retinanet.errors import TrainingError
from retinanet.losses.detection import Losses
from retinanet.training import step
from retinanet.training.cpu import network as cpu_network
from retinanet.training.cpu import winograd
from retinanet.training.cpu.network import CpuNetwork
from retinanet.training.cpu.sparse import convolve
from retinanet.training.cpu.winograd import conv3x3
from retinanet.training.diagnosis import diagnose_step
from retinanet.training.networks import WholeNetwork, training_network
from retinanet.training.step import Learner, NotFiniteError, train_step


def losses(learner: Learner, batch: Batch) -> Losses:
    (targets,) = learner.targets([batch])
    return learner.compute_losses(*learner.predict(batch, targets), targets, batch)


def micro_batch(whole: Batch, rows: slice) -> Batch:
    return Batch(*(field[rows] for field in whole))


@pytest.mark.parametrize("normalizer", ["image", "batch", "moving"])
def test_step_in_micro_batches_equals_the_step_of_the_batch(small_settings, normalizer):
    whole, micro_batches = (
        learner(small_settings, normalizer=normalizer),
        learner(small_settings, normalizer=normalizer),
    )
    one = train_step(whole, [batch()])
    two = train_step(micro_batches, [micro_batch(batch(), slice(0, 2)), micro_batch(batch(), slice(2, 4))])
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6)
    for (name, a), b in zip(whole.model.named_parameters(), micro_batches.model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-6, msg=name)


def test_learning_rate_is_scaled_to_the_batch_size(small_settings):
    rates = [
        learner(small_settings, learning_rate=0.01, batch_size=size, reference_batch_size=16).schedule.get_last_lr()[-1]
        for size in (16, 4)
    ]
    assert rates == pytest.approx([0.01, 0.0025])


def test_step_that_is_not_finite_changes_nothing_and_is_diagnosed(small_settings):
    broken = learner(small_settings)
    torch.nn.init.constant_(broken.model.box.last.bias, torch.inf)
    before = {name: tensor.clone() for name, tensor in broken.model.state_dict().items()}
    with pytest.raises(NotFiniteError, match=r"box_loss (nan|inf)") as caught:
        train_step(broken, [batch()])
    for name, tensor in broken.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    diagnosis = diagnose_step(broken, caught.value.micro_batches)
    assert list(diagnosis.losses) == ["P3", "P4", "P5", "P6", "P7"]
    assert all(torch.isfinite(torch.tensor(classification)) for classification, _ in diagnosis.losses.values())
    assert not all(torch.isfinite(torch.tensor(box)) for _, box in diagnosis.losses.values())
    assert set(diagnosis.gradient_norms) == {"backbone", "pyramid", "classification", "box"}


@pytest.mark.parametrize(
    ("batch_size", "accumulation_steps", "fix"),
    [
        (8, 1, "runtime.accumulation_steps: 2"),
        (10, 2, "runtime.accumulation_steps: 5"),  # 10 images do not divide by 3 or 4
        (2, 2, "lower model.short_side"),
    ],
)
def test_out_of_memory_error_suggests_a_setting(small_settings, monkeypatch, batch_size, accumulation_steps, fix):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(step, "_train_step", full)
    with pytest.raises(TrainingError, match=f"out of memory with train.batch_size {batch_size}; .*{fix}"):
        train_step(learner(small_settings, batch_size=batch_size), [batch()] * accumulation_steps)


def test_float16_without_a_gpu_raises(small_settings):
    with pytest.raises(TrainingError, match="fp16, which needs a GPU"):
        learner(small_settings, precision="fp16")


def test_losses_are_float32_under_mixed_precision(small_settings):
    mixed, exact = (losses(learner(small_settings, precision=precision), batch()) for precision in ("bf16", "fp32"))
    assert mixed.classification.dtype == mixed.box.dtype == torch.float32
    torch.testing.assert_close(mixed.classification, exact.classification, rtol=0.05, atol=0)


@pytest.mark.parametrize(("precision", "uses_winograd"), [("fp32", True), ("bf16", False)])
def test_wide_convolutions_use_winograd_in_float32_only(small_settings, monkeypatch, precision, uses_winograd):
    wide = small_settings.model_copy(update={"pyramid_width": 128, "head_width": 128})
    calls = []

    def counted(*inputs):
        calls.append(inputs)
        return conv3x3(*inputs)

    monkeypatch.setattr(winograd, "conv3x3", counted)
    losses(learner(wide, precision=precision), batch(16))
    assert bool(calls) == uses_winograd


def test_step_with_the_sparse_box_subnet_equals_the_step_on_whole_maps(small_settings, monkeypatch):
    plain = small_settings.model_copy(update={"head_norm": "none"})
    sparse, whole = learner(plain), learner(plain)
    calls = []

    def counted(*inputs):
        calls.append(inputs)
        return convolve(*inputs)

    monkeypatch.setattr(cpu_network, "convolve", counted)
    metrics = train_step(sparse, [batch()])
    assert calls
    monkeypatch.setattr(cpu_network, "MAX_SPARSE_SHARE", 0)
    torch.testing.assert_close(metrics, train_step(whole, [batch()]), rtol=1e-4, atol=1e-6)
    assert len(calls) == 1
    for (name, a), b in zip(sparse.model.named_parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)


def test_training_network_is_the_whole_network_if_compiled(small_settings):
    """Its shapes are the same at every step."""
    model, cpu = learner(small_settings).model, torch.device("cpu")
    assert isinstance(training_network(model, cpu, torch.float32, compiled=True), WholeNetwork)
    assert isinstance(training_network(model, cpu, torch.float32, compiled=False), CpuNetwork)


def test_anchors_in_a_crowd_add_no_loss_unless_crowds_are_background(small_settings):
    last = micro_batch(batch(), slice(3, 4))
    background = losses(learner(small_settings), last._replace(crowds=[torch.zeros(0, 4)])).classification
    # What remains is the loss of anchors with more than half of their area outside the image.
    assert losses(learner(small_settings), last).classification < background / 2
    assert losses(learner(small_settings, crowds="background"), last).classification == background


@pytest.mark.parametrize("normalizer", ["image", "batch", "moving"])
def test_diagnosed_losses_and_gradients_add_up_to_those_of_the_step(small_settings, normalizer):
    micro_batches = [micro_batch(batch(), slice(0, 2)), micro_batch(batch(), slice(2, 4))]
    diagnosed = learner(small_settings, normalizer=normalizer, box_weight=2.0)
    diagnosis = diagnose_step(diagnosed, micro_batches)
    _, classification, box, norm = train_step(diagnosed, micro_batches).tolist()
    assert [sum(losses) for losses in zip(*diagnosis.losses.values(), strict=True)] == pytest.approx(
        [classification, box]
    )
    assert math.hypot(*diagnosis.gradient_norms.values()) == pytest.approx(norm, rel=1e-4)
    # Objects of 40 x 50 px belong to P3.
    assert [level for level, (_, box) in diagnosis.losses.items() if box] == ["P3"]


def overflow_gradients(half: Learner) -> torch.utils.hooks.RemovableHandle:
    return next(half.model.box.parameters()).register_hook(lambda gradient: gradient * torch.inf)


def test_float16_step_with_overflowing_gradients_changes_only_the_loss_scale(small_settings):
    half = learner(small_settings, ema_steps=5, normalizer="moving", warmup_share=0.5)
    half.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    before = copy.deepcopy(half.state_dict())
    overflowing = overflow_gradients(half)
    metrics = train_step(half, [batch()])
    assert metrics[:3].isfinite().all() and metrics[3].isnan()
    after = half.state_dict()
    assert after.pop("scaler")["scale"] == before.pop("scaler")["scale"] / 2
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    overflowing.remove()
    assert train_step(half, [batch()]).isfinite().all()
    after = half.state_dict()
    assert after["schedule"]["last_epoch"] == before["schedule"]["last_epoch"] + 1
    assert after["normalizer"] != before["normalizer"]
    assert after["averaged"]["n_averaged"] == before["averaged"]["n_averaged"] + 1


def test_float16_gradients_that_overflow_at_the_smallest_loss_scale_raise(small_settings):
    """The scaler halves the scale at each of them, and would do so forever."""
    half = learner(small_settings)
    half.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    train_step(half, [batch()])
    overflow_gradients(half)
    for _ in range(2):
        train_step(half, [batch()])
    with pytest.raises(NotFiniteError, match=r"gradient_norm (nan|inf)"):
        train_step(half, [batch()])


@pytest.fixture
def data_parallel(monkeypatch, tmp_path):
    """Learners' networks are under DistributedDataParallel, in a group of one process."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    monkeypatch.setattr(step.distributed, "data_parallel", lambda network, device: DistributedDataParallel(network))
    yield
    torch.distributed.destroy_process_group()


def test_gradients_of_micro_batches_are_reduced_once_a_step(small_settings, data_parallel):
    def reductions(micro_batches: list[Batch]) -> tuple[int, Learner]:
        calls = []

        def counted(state: object, bucket: torch.distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
            calls.append(bucket.index())
            future = torch.futures.Future()
            future.set_result(bucket.buffer())
            return future

        made = learner(small_settings)
        made._parallel.register_comm_hook(None, counted)
        train_step(made, micro_batches)
        return len(calls), made

    whole_calls, whole = reductions([batch()])
    calls, halves = reductions([micro_batch(batch(), slice(0, 2)), micro_batch(batch(), slice(2, 4))])
    assert calls == whole_calls > 0
    for (name, a), b in zip(whole.model.named_parameters(), halves.model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-6, msg=name)
