"""A study in Optuna's database, which several workers share, and which trials may start in it."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import optuna
from filelock import FileLock
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from retinanet.errors import RetinanetError
from retinanet.tracking.failures import reason_of, without_password
from retinanet.tracking.store import lock_path

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
MAX_RETRIES = 3  # of a trial whose workers die: perhaps it is what kills them
IDENTITY, PARENT_RUN, RUN = "identity", "parent_run", "run"  # attributes of the study and of its trials
CREATION_S = 60.0


class StudySource(NamedTuple):
    """Where a study is. A trial whose worker gives no sign of life for lost_after_s seconds is tried again."""

    name: str
    storage: str  # an SQLAlchemy URL
    lost_after_s: int
    pruner: str


def pruners(validate_every: int, epochs: int) -> dict[str, BasePruner]:
    """What stops unpromising trials, by name. Steps are epochs."""
    hyperband = HyperbandPruner(min_resource=validate_every, max_resource=max(validate_every, epochs))
    return {"median": MedianPruner(), "hyperband": hyperband, "none": NopPruner()}


def open_study(source: StudySource, pruner: BasePruner) -> tuple[optuna.Study, bool]:
    """Open the study, or create it; returns it, and whether this call created it. Raises RetinanetError."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    is_sqlite = source.storage.startswith("sqlite")
    with storage_errors(source.storage), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        with FileLock(lock_path("sweeps"), timeout=CREATION_S):  # a new SQLite file breaks if two create its tables
            storage = RDBStorage(
                source.storage,
                {"connect_args": {"timeout": CREATION_S}} if is_sqlite else None,
                heartbeat_interval=max(1, source.lost_after_s // 4),
                grace_period=source.lost_after_s,
                heartbeat_stale_trial_callback=_retry(MAX_RETRIES),
            )
            # Workers that draw at the same time must not draw the same.
            sampler = optuna.samplers.TPESampler(constant_liar=True)
            try:
                study = optuna.create_study(
                    storage=storage, study_name=source.name, direction="maximize", sampler=sampler, pruner=pruner
                )
            except optuna.exceptions.DuplicatedStudyError:
                study = optuna.load_study(storage=storage, study_name=source.name, sampler=sampler, pruner=pruner)
                return study, False
            return study, True


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn the database's errors, which may contain its password, into one line."""
    try:
        yield
    except (SQLAlchemyError, ImportError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise RetinanetError(
            f"{without_password(url)}: {reason_of(cause, 300)}; check --storage and that the database is running; "
            "the sweep continues when it is started again"
        ) from error


def attribute(study: optuna.Study, name: str) -> str | None:
    """An attribute that the command which created the study sets; waits a moment for it."""
    until = time.monotonic() + CREATION_S
    while name not in study.user_attrs and time.monotonic() < until:
        time.sleep(0.2)
    return study.user_attrs.get(name)


def finished(study: optuna.Study) -> int:
    """The number of trials that ended, pruned ones among them."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def may_start(study: optuna.Study, count: int) -> bool:
    """Whether a worker should take a trial, one to try again or a new one, of a study of `count` trials."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        fail_stale_trials(study)
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    return TrialState.WAITING in states or sum(state != TrialState.FAIL for state in states) < count


def is_surplus(study: optuna.Study, number: int, count: int) -> bool:
    """Whether `count` trials have numbers before this one, because two workers took the last one at once.

    The database gives each number once, and a trial that failed stays failed, so never more than `count` are left.
    """
    trials = study.get_trials(deepcopy=False)
    return sum(trial.number < number and trial.state != TrialState.FAIL for trial in trials) >= count


def hand_back(study: optuna.Study, trial: optuna.Trial) -> None:
    """Let another worker, or the next start, continue an interrupted trial."""
    study.tell(trial, state=TrialState.FAIL)
    _retry(None)(study, study.trials[trial.number])


def first_number(trial: FrozenTrial) -> int:
    """The number of a trial when it was started first."""
    return int(trial.system_attrs.get("failed_trial", trial.number))


def _retry(max_retries: int | None) -> RetryHeartbeatStaleTrialCallback:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return RetryHeartbeatStaleTrialCallback(max_retries, inherit_intermediate_values=True)
