"""One trial: a training as the train stage makes it, in an MLflow run below the sweep's."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import optuna

from retinanet.config.params import changed_params, flat
from retinanet.config.settings import Params
from retinanet.errors import ParamsError, TrainingError
from retinanet.files import repo_root
from retinanet.sweep.space import SearchSpace
from retinanet.sweep.study import RUN, finished, first_number, hand_back, is_surplus
from retinanet.tracking.entries import PARENT
from retinanet.tracking.registered_weights import resolve_weights
from retinanet.tracking.runs import Run, start_run
from retinanet.tracking.training_record import training_record
from retinanet.training.checkpoint import lock_folder
from retinanet.training.fit import TrainingSets
from retinanet.training.history import History
from retinanet.training.job import TrainingJob, training_job
from retinanet.training.process import StopSignal

METRIC = "val/AP"


class SurplusTrialError(Exception):
    """Another worker took the last trial at the same time."""


@dataclass(frozen=True)
class Trials:
    """What all trials of a study share. params are those that a trial's values change, paths is stages/paths.py."""

    study: optuna.Study
    count: int
    space: SearchSpace
    params: Params
    sets: TrainingSets
    paths: ModuleType
    parent_run: str
    stop: StopSignal

    def __call__(self, trial: optuna.Trial) -> float:
        """Train with the trial's values; returns the AP on val of the best epoch.

        Raises TrialPruned for a trial that is stopped early: unpromising, or not able to train. A signal hands the
        trial back. Training resumes from the checkpoint of an earlier attempt if that was on this machine.
        """
        if is_surplus(self.study, trial.number, self.count):
            raise SurplusTrialError
        values = self.space.suggest(trial)
        try:
            value, ended = self._train(trial, values)
        except SystemExit:
            hand_back(self.study, trial)
            raise
        done = finished(self.study) + 1
        print(f"sweep: trial {trial.number} {ended}, {done} of {self.count} done: {_text(values)}", flush=True)
        if value is None:
            raise optuna.TrialPruned(ended)
        return value

    def _train(self, trial: optuna.Trial, values: Mapping[str, object]) -> tuple[float | None, str]:
        """The value, None for a trial that is stopped early, and how the trial ended."""
        try:
            params = changed_params(self.params, values)
        except ParamsError as error:  # valid alone, but not together
            return None, f"cannot be trained ({error})"
        with resolve_weights(params.model.weights) as weights:
            job = training_job(params, self.sets, weights, self.paths)
        number = first_number(self.study.trials[trial.number])
        folder = repo_root() / self.paths.CACHE / "sweeps" / self.study.study_name / f"{number}-{job.fingerprint()}"
        with lock_folder(folder):
            history = History(folder)
            tags = {PARENT: self.parent_run, "sweep.study": self.study.study_name, "sweep.trial": str(number)}
            name = f"trial {number}: {_text(values)}"[:250]
            with start_run(params.tracking.experiment, name, trial.user_attrs.get(RUN), tags=tags) as run:
                trial.set_user_attr(RUN, run.id)
                self._log_start(run, job)
                ended = self._epochs(trial, job, history, run)
                run.log_tags({"sweep.ended": ended or "complete"})
            value = None if ended else float(history.best()[METRIC])
            shutil.rmtree(folder)
        return value, ended or f"reached {METRIC} {value:.4f}"

    def _epochs(self, trial: optuna.Trial, job: TrainingJob, history: History, run: Run) -> str:
        """Train; returns why the trial was stopped early, or nothing."""
        reported = self.study.trials[trial.number].intermediate_values  # by an earlier attempt
        try:
            for epoch in job.recorded_epochs(history, self.stop):
                run.log_metrics(epoch.metrics, step=epoch.number)
                if METRIC in epoch.metrics and epoch.number not in reported:
                    trial.report(epoch.metrics[METRIC], epoch.number)
                    is_last = epoch.number == job.params.train.epochs_for(len(self.sets.train.images))
                    if not is_last and trial.should_prune():
                        return f"pruned after epoch {epoch.number} with {METRIC} {epoch.metrics[METRIC]:.4f}"
        except TrainingError as error:
            return f"failed ({error})"
        return ""

    def _log_start(self, run: Run, job: TrainingJob) -> None:
        settings = flat({"model": job.params.model.model_dump(), "train": job.params.train.model_dump()})
        source, datasets = job.params.download.source_name(), {"train": job.sets.train, "val": job.sets.val}
        record = training_record(settings, source, self.paths.SPLITS, datasets, job.device)
        run.log_params(record["params"])
        for dataset in record["datasets"]:
            run.log_dataset(**dataset)


def study_data(paths: ModuleType) -> list[Path]:
    """The files whose content all trials of a study share."""
    return [paths.TRAIN_JSON, paths.VAL_JSON, paths.IMAGE_INDEX, paths.DECISIONS]


def _text(values: Mapping[str, object]) -> str:
    """For example `learning_rate=0.00123 box_loss=giou`."""
    shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in values.items()}
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in shown.items())
