from pytest import approx

from retinanet.images.preprocess import InputSize
from retinanet.recipe.schedule import OTHER_STAGES_S, Counts, plan, shortage
from retinanet.recipe.speed import Speed

LARGE, SMALL = InputSize(640, 640), InputSize(320, 320)
COUNTS = Counts(train=200, val=50, test=100, batch=2)  # 100 steps an epoch; 8 validations of 50 and a test of 100


def measured(step_s: float, image_s: float = 0.1):
    """A measurement with this time for every size and twice as much for twice the images, and the sizes asked for."""
    asked = []

    def measure(size: InputSize, batch: int) -> Speed:
        if batch == COUNTS.batch:
            asked.append(size)
        return Speed(step_s * batch / COUNTS.batch, image_s)

    return measure, asked


def test_epochs_fill_nine_tenths_of_the_minutes():
    """30 minutes: 1620 s, less 200 for other stages and 50 for inference, leave 1370 s: 27 epochs of 50 s."""
    measure, asked = measured(0.5)
    schedule, _, _ = plan(30, COUNTS, [LARGE, SMALL], measure)
    assert (schedule.input_size, schedule.epochs, schedule.validate_every) == (LARGE, 27, 4)
    assert asked == [LARGE]
    assert schedule.train_s == approx(27 * 50 + 40) and schedule.total_s == approx(27 * 50 + 50 + OTHER_STAGES_S)


def test_a_smaller_input_is_taken_if_too_few_steps_fit():
    """Steps of 2 s fit 6 times 100 into 1370 s; a quarter of the pixels takes 0.5 s, so it is tried."""
    measure, asked = measured(2.0)
    schedule, _, speed = plan(30, COUNTS, [LARGE, SMALL], measure)
    assert (schedule.input_size, schedule.epochs, speed.step_s) == (SMALL, 6, 2.0)
    assert asked == [LARGE, SMALL]


def test_epochs_are_limited_and_a_small_dataset_gets_enough_steps():
    fast, _ = measured(0.001)
    assert plan(60, COUNTS, [LARGE], fast)[0].epochs == 60
    assert plan(60, COUNTS._replace(train=10), [LARGE], fast)[0].epochs == 300  # 1500 steps


def test_too_few_epochs_are_a_warning_with_the_minutes_that_would_do():
    """5 epochs of 100 steps of 10 s, 50 s of inference and 200 s in nine tenths of 98 minutes."""
    slow, _ = measured(10.0)
    schedule, _, speed = plan(30, COUNTS, [SMALL], slow)
    assert schedule.epochs == 1
    assert shortage(schedule, COUNTS, speed) == (
        "1 epochs of 100 steps are few; give it --minutes 98, or a faster machine"
    )
    fast, _ = measured(0.5)
    assert shortage(*_with_counts(plan(30, COUNTS, [SMALL], fast))) == ""


def _with_counts(planned):
    schedule, _, speed = planned
    return schedule, COUNTS, speed
