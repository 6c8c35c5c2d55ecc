"""Run a sweep: workers take trials of one study until enough have ended; then its result is logged."""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import optuna

from retinanet.config.settings import Params
from retinanet.errors import RetinanetError, TrainingError, exit_on_error
from retinanet.prepare.decisions import read_decisions
from retinanet.runtime import keep_freed_memory
from retinanet.sweep.result import result_lines
from retinanet.sweep.space import SearchSpace
from retinanet.sweep.study import (
    IDENTITY,
    PARENT_RUN,
    StudySource,
    attribute,
    finished,
    may_start,
    open_study,
    pruners,
    storage_errors,
)
from retinanet.sweep.trial import SurplusTrialError, Trials, study_data
from retinanet.threads import share_cores
from retinanet.tracking.runs import start_run
from retinanet.tracking.store import open_experiment
from retinanet.training.fingerprint import fingerprint
from retinanet.training.fit import TrainingSets
from retinanet.training.job import read_sets
from retinanet.training.process import StopSignal, stop_with_parent

POLL_S = 1.0
SIGNALED = (130, 143)


@dataclass(frozen=True)
class Sweep:
    """A sweep of `count` trials. paths_of gives stages/paths.py, also in a worker's process."""

    source: StudySource
    count: int
    space: SearchSpace
    params: Params
    paths_of: Callable[[], ModuleType]

    def run(self, workers: int) -> list[str]:
        """Work until the study has `count` ended trials; returns lines about its result. Raises RetinanetError."""
        study = self._open(read_sets(self.paths_of()))
        if workers > 1:
            self._run_processes(workers)
        else:
            self.work()
        with storage_errors(self.source.storage):
            if finished(study) < self.count:
                raise TrainingError(
                    f"{finished(study)} of {self.count} trials have ended, and no worker is left; start the sweep again"
                )
            return result_lines(study, self.space, self.params.tracking.experiment)

    def work(self, index: int = 0, is_one_of_several: bool = False) -> None:
        """Take trials until the study has enough."""
        stop_with_parent(is_one_of_several)
        stop = StopSignal()
        keep_freed_memory()
        paths = self.paths_of()
        sets = read_sets(paths)
        study = self._open(sets)
        params = self._params_of_worker(index)
        parent_run = str(attribute(study, PARENT_RUN))
        trials = Trials(study, self.count, self.space, params, sets, paths, parent_run, stop)
        with storage_errors(self.source.storage):
            while finished(study) < self.count:
                if may_start(study, self.count):
                    _take_trial(study, trials)
                else:  # until another worker's trial ends, or its worker gives no sign of life
                    with stop.at_once(lambda: None):
                        time.sleep(POLL_S)

    def _run_processes(self, workers: int) -> None:
        share_cores(workers)
        spawn = multiprocessing.get_context("spawn")
        processes = [spawn.Process(target=_work, args=(self, index)) for index in range(workers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        for process in processes:
            if process.exitcode in SIGNALED:
                raise SystemExit(process.exitcode)

    def _params_of_worker(self, index: int) -> Params:
        """The params with one process; workers of a machine with several GPUs have one each."""
        import torch

        runtime = self.params.runtime
        gpus = torch.cuda.device_count()
        device = f"cuda:{index % gpus}" if gpus > 1 and runtime.device in ("auto", "cuda") else runtime.device
        return self.params.model_copy(update={"runtime": runtime.model_copy(update={"processes": 1, "device": device})})

    def _open(self, sets: TrainingSets) -> optuna.Study:
        """Open the study; whoever creates it starts the MLflow run of the sweep as well."""
        train, paths = self.params.train, self.paths_of()
        decisions = read_decisions(paths.DECISIONS)
        trained = train.for_data(decisions.orientation, len(sets.train.images), decisions.epochs)
        pruner = pruners(train.validate_every, trained.epochs_for(len(sets.train.images)))[self.source.pruner]
        settings = {
            "space": self.space.texts(),
            "model": self.params.model.model_dump(),
            "train": train.model_dump(),
        }
        identity = fingerprint(settings, study_data(paths), {})
        experiment = self.params.tracking.experiment
        open_experiment(experiment)  # before the study exists: without the store, nothing is started
        study, is_new = open_study(self.source, pruner)
        with storage_errors(self.source.storage):
            if is_new or attribute(study, PARENT_RUN) is None:  # its creator was killed
                study.set_user_attr(IDENTITY, identity)
                run = start_run(experiment, f"sweep {self.source.name}", tags={"sweep.study": self.source.name})
                run.log_params(self.space.texts())
                study.set_user_attr(PARENT_RUN, run.id)
            if study.user_attrs.get(IDENTITY) != identity:
                raise RetinanetError(
                    f"study {self.source.name} has trials with another search space, other settings of model and "
                    "train, or other data; choose another name with --study"
                )
        return study


def _take_trial(study: optuna.Study, trials: Trials) -> None:
    try:
        study.optimize(trials, n_trials=1, catch=(SurplusTrialError,))
    except optuna.exceptions.UpdateFinishedTrialError:
        print("sweep: a trial was given to another worker, because this one gave no sign of life", flush=True)


def _work(sweep: Sweep, index: int) -> None:
    exit_on_error(lambda: sweep.work(index, is_one_of_several=True))()
