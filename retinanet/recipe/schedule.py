"""How many epochs fit into the minutes given, at which input size and batch size."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from retinanet.images.preprocess import InputSize
from retinanet.recipe.speed import Speed

# Share of the minutes that is planned, as training beside other work takes longer.
PLANNED_SHARE = 0.9
# Imports, checkpoints, tracking, drawing, export and heat maps: what the stages of the default run took beside training
# steps and inference, on two cores with AVX2.
OTHER_STAGES_S = 200
# A smaller input is taken if fewer steps fit into the minutes.
WANTED_STEPS = 1500
# More steps than this are taken only up to MAX_EPOCHS: the network has then learned what the images have to offer.
ENOUGH_STEPS, MAX_EPOCHS = 1500, 60
# With fewer, training ends before the network has learned much.
MIN_STEPS, MIN_EPOCHS = 500, 5
VALIDATIONS = 8
# A batch twice as large is taken if it trains so many times as many images a second, as a GPU does.
BATCH_GAIN = 1.2
LARGEST_BATCH = 16


class Counts(NamedTuple):
    """Images of the splits, and images of a training step."""

    train: int
    val: int
    test: int
    batch: int

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(self.train / self.batch)


class Schedule(NamedTuple):
    """The input size, the epochs, those between validations, and the planned seconds of training and in total."""

    input_size: InputSize
    epochs: int
    validate_every: int
    train_s: float
    total_s: float


def plan(
    minutes: float, counts: Counts, sizes: Sequence[InputSize], measure: Callable[[InputSize, int], Speed]
) -> tuple[Schedule, Counts, Speed]:
    """The largest of the sizes, given in descending order, at which WANTED_STEPS fit into the minutes, or the smallest.

    The batch is doubled as long as the minutes limit the epochs, WANTED_STEPS still fit, and it trains BATCH_GAIN times
    as many images a second. measure takes the size and the batch; it is called for the largest size, for the one that
    its time, scaled by the area, suggests, and for each batch that is tried.
    """
    speed = measure(sizes[0], counts.batch)
    size = next((size for size in sizes if _fits(minutes, counts, _scaled(speed, sizes[0], size))), sizes[-1])
    if size != sizes[0]:
        speed = measure(size, counts.batch)
    while _epochs(minutes, counts, speed) < _most_epochs(counts) and 2 * counts.batch <= LARGEST_BATCH:
        larger = counts._replace(batch=2 * counts.batch)
        if not _fits(minutes, larger, speed._replace(step_s=2 * speed.step_s / BATCH_GAIN)):
            break
        faster = measure(size, larger.batch)
        if faster.step_s > 2 * speed.step_s / BATCH_GAIN:
            break
        counts, speed = larger, faster
    return _schedule(minutes, counts, size, speed), counts, speed


def shortage(schedule: Schedule, counts: Counts, speed: Speed) -> str:
    """A warning if the epochs are too few for a good detector; empty if not."""
    needed = max(MIN_EPOCHS, math.ceil(MIN_STEPS / counts.steps))
    if schedule.epochs >= needed:
        return ""
    minutes = (needed * counts.steps * speed.step_s + _inference_s(counts, speed) + OTHER_STAGES_S) / PLANNED_SHARE / 60
    return (
        f"{schedule.epochs} epochs of {counts.steps} steps are few; give it --minutes {math.ceil(minutes)}, "
        "or a faster machine"
    )


def _fits(minutes: float, counts: Counts, speed: Speed) -> bool:
    return _training_s(minutes, counts, speed) >= WANTED_STEPS * speed.step_s


def _epochs(minutes: float, counts: Counts, speed: Speed) -> int:
    return max(1, math.floor(_training_s(minutes, counts, speed) / (counts.steps * speed.step_s)))


def _training_s(minutes: float, counts: Counts, speed: Speed) -> float:
    """The seconds that are left for training steps."""
    return PLANNED_SHARE * minutes * 60 - OTHER_STAGES_S - _inference_s(counts, speed)


def _most_epochs(counts: Counts) -> int:
    return max(MAX_EPOCHS, math.ceil(ENOUGH_STEPS / counts.steps))


def _schedule(minutes: float, counts: Counts, size: InputSize, speed: Speed) -> Schedule:
    epochs = min(_epochs(minutes, counts, speed), _most_epochs(counts))
    train_s = epochs * counts.steps * speed.step_s + VALIDATIONS * counts.val * speed.image_s
    total_s = train_s + counts.test * speed.image_s + OTHER_STAGES_S
    return Schedule(size, epochs, math.ceil(epochs / VALIDATIONS), train_s, total_s)


def _inference_s(counts: Counts, speed: Speed) -> float:
    return (VALIDATIONS * counts.val + counts.test) * speed.image_s


def _scaled(speed: Speed, measured: InputSize, size: InputSize) -> Speed:
    """The time at another size: proportional to its area."""
    area = (size.short_side / measured.short_side) ** 2
    return Speed(speed.step_s * area, speed.image_s * area)
