import math

import pytest
import torch
from support.steps import batch, learner

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


def losses(of: Learner, batch: Batch) -> Losses:
    (targets,) = of.targets([batch])
    return of.compute_losses(*of.predict(batch, targets), targets, batch)


def micro_batch(whole: Batch, rows: slice) -> Batch:
    return Batch(*(field[rows] for field in whole))


@pytest.mark.parametrize("normalizer", ["image", "batch", "moving"])
def test_parts_of_a_batch_teach_what_the_batch_teaches(small_settings, normalizer):
    whole, micro_batches = (
        learner(small_settings, normalizer=normalizer),
        learner(small_settings, normalizer=normalizer),
    )
    one = train_step(whole, [batch()])
    two = train_step(micro_batches, [micro_batch(batch(), slice(0, 2)), micro_batch(batch(), slice(2, 4))])
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6)
    for (name, a), b in zip(whole.model.named_parameters(), micro_batches.model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-6, msg=name)


def test_the_rate_follows_the_batch(small_settings):
    rates = [
        learner(small_settings, learning_rate=0.01, batch_size=size, reference_batch_size=16).schedule.get_last_lr()[-1]
        for size in (16, 4)
    ]
    assert rates == pytest.approx([0.01, 0.0025])


def test_a_step_that_is_not_finite_changes_nothing_and_is_explained(small_settings):
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
    ("batch_size", "accumulation_steps", "way"),
    [
        (8, 1, "runtime.accumulation_steps: 2"),
        (10, 2, "runtime.accumulation_steps: 5"),  # 10 images do not divide by 3 or 4
        (2, 2, "lower model.short_side"),
    ],
)
def test_out_of_memory_suggests_what_to_change(small_settings, monkeypatch, batch_size, accumulation_steps, way):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(step, "_train_step", full)
    with pytest.raises(TrainingError, match=f"out of memory with train.batch_size {batch_size}; .*{way}"):
        train_step(learner(small_settings, batch_size=batch_size), [batch()] * accumulation_steps)


def test_half_precision_needs_a_gpu(small_settings):
    with pytest.raises(TrainingError, match="fp16, which needs a GPU"):
        learner(small_settings, precision="fp16")


def test_mixed_precision_keeps_losses_in_float32(small_settings):
    mixed, exact = (losses(learner(small_settings, precision=precision), batch()) for precision in ("bf16", "fp32"))
    assert mixed.classification.dtype == mixed.box.dtype == torch.float32
    torch.testing.assert_close(mixed.classification, exact.classification, rtol=0.05, atol=0)


@pytest.mark.parametrize(("precision", "faster"), [("fp32", True), ("bf16", False)])
def test_wide_convolutions_are_computed_the_fast_way_in_float32(small_settings, monkeypatch, precision, faster):
    wide = small_settings.model_copy(update={"pyramid_width": 128, "head_width": 128})
    taken = []

    def noted(*inputs):
        taken.append(inputs)
        return conv3x3(*inputs)

    monkeypatch.setattr(winograd, "conv3x3", noted)
    losses(learner(wide, precision=precision), batch(16))
    assert bool(taken) == faster


def test_boxes_are_learnt_where_objects_are_as_on_whole_maps(small_settings, monkeypatch):
    plain = small_settings.model_copy(update={"head_norm": "none"})
    sparse, whole = learner(plain), learner(plain)
    taken = []

    def noted(*inputs):
        taken.append(inputs)
        return convolve(*inputs)

    monkeypatch.setattr(cpu_network, "convolve", noted)
    found = train_step(sparse, [batch()])
    assert taken
    monkeypatch.setattr(cpu_network, "MAX_SPARSE_SHARE", 0)
    torch.testing.assert_close(found, train_step(whole, [batch()]), rtol=1e-4, atol=1e-6)
    assert len(taken) == 1
    for (name, a), b in zip(sparse.model.named_parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)


def test_a_compiled_network_computes_whole_maps(small_settings):
    """Their shapes are the same at every step."""
    model, cpu = learner(small_settings).model, torch.device("cpu")
    assert isinstance(training_network(model, cpu, torch.float32, compiled=True), WholeNetwork)
    assert isinstance(training_network(model, cpu, torch.float32, compiled=False), CpuNetwork)


def test_a_crowd_all_over_teaches_nothing(small_settings):
    last = micro_batch(batch(), slice(3, 4))
    background = losses(learner(small_settings), last._replace(crowds=[torch.zeros(0, 4)])).classification
    # Left are anchors that reach out of the image with more than half of their area.
    assert losses(learner(small_settings), last).classification < background / 2
    # Where the settings say so, it is as if no crowd were there.
    assert losses(learner(small_settings, crowds="background"), last).classification == background


@pytest.mark.parametrize("normalizer", ["image", "batch", "moving"])
def test_the_levels_of_a_step_come_to_its_losses(small_settings, normalizer):
    micro_batches = [micro_batch(batch(), slice(0, 2)), micro_batch(batch(), slice(2, 4))]
    looked_into = learner(small_settings, normalizer=normalizer, box_weight=2.0)
    diagnosis = diagnose_step(looked_into, micro_batches)
    _, classification, box, norm = train_step(looked_into, micro_batches).tolist()
    assert [sum(of_level) for of_level in zip(*diagnosis.losses.values(), strict=True)] == pytest.approx(
        [classification, box]
    )
    assert math.hypot(*diagnosis.gradient_norms.values()) == pytest.approx(norm, rel=1e-4)
    # Objects of 40 x 50 px belong to P3.
    assert [level for level, (_, box) in diagnosis.losses.items() if box] == ["P3"]


def test_float16_whose_gradients_are_never_numbers_stops_in_the_end(small_settings, monkeypatch):
    """The scaler halves the scale at each of them, and would do so for ever."""
    half = learner(small_settings)
    half.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    train_step(half, [batch()])
    next(half.model.box.parameters()).register_hook(lambda gradient: gradient * torch.inf)
    for _ in range(2):
        train_step(half, [batch()])
    with pytest.raises(NotFiniteError, match=r"gradient_norm (nan|inf)"):
        train_step(half, [batch()])
