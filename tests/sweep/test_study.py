import optuna
import pytest
from optuna.trial import TrialState

from retinanet.errors import RetinanetError
from retinanet.sweep.study import (
    StudySource,
    finished,
    first_number,
    hand_back,
    is_surplus,
    may_start,
    open_study,
    pruners,
)

# The tests ask for trials themselves, which no heartbeat keeps alive.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage")


@pytest.fixture
def study(tmp_path, monkeypatch) -> optuna.Study:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    source = StudySource("s", f"sqlite:///{tmp_path}/sweeps.db", 60, "none")
    study, is_new = open_study(source, pruners(1, 3)["none"])
    assert is_new and not open_study(source, pruners(1, 3)["none"])[1]
    return study


def test_no_more_trials_start_than_the_study_needs(study):
    first, second, third = (study.ask() for _ in range(3))
    assert not may_start(study, 3)
    assert may_start(study, 4)
    assert [is_surplus(study, trial.number, 2) for trial in (first, second, third)] == [False, False, True]
    study.tell(third, state=TrialState.FAIL)
    study.tell(first, 0.5)
    study.tell(second, state=TrialState.PRUNED)
    assert finished(study) == 2
    assert not may_start(study, 2)


def test_a_trial_that_is_handed_back_continues_with_its_values_under_its_first_number(study):
    trial = study.ask()
    value = trial.suggest_float("train.weight_decay", 0, 1)
    trial.report(0.3, 1)
    hand_back(study, trial)
    assert may_start(study, 1)
    again = study.ask()
    assert again.number == 1
    assert again.suggest_float("train.weight_decay", 0, 1) == value
    frozen = study.trials[1]
    assert first_number(frozen) == 0
    assert frozen.intermediate_values == {1: 0.3}
    assert not is_surplus(study, 1, 1)


def test_a_database_that_cannot_be_opened_is_one_line_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(RetinanetError, match=r"sqlite:////missing/s.db: .*unable to open.*check --storage"):
        open_study(StudySource("s", "sqlite:////missing/s.db", 60, "none"), pruners(1, 3)["none"])
    with pytest.raises(RetinanetError) as error:
        open_study(StudySource("s", "nosuch://me:secret@host/s", 60, "none"), pruners(1, 3)["none"])
    assert "secret" not in str(error.value)
