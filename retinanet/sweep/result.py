"""The result of a sweep: best settings, images of the study and a table of its trials, in the sweep's MLflow run."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import optuna
import yaml
from optuna.trial import TrialState

from retinanet.errors import TrainingError
from retinanet.sweep.command import experiment_command
from retinanet.sweep.space import SearchSpace
from retinanet.sweep.study import PARENT_RUN, RUN
from retinanet.sweep.trial import METRIC
from retinanet.tracking.runs import start_run
from retinanet.tracking.store import open_client, store_errors


def result_lines(study: optuna.Study, space: SearchSpace, experiment: str) -> list[str]:
    """Log the result and end the sweep's run; returns lines for the terminal.

    The best settings are tags, which a later, longer sweep of the same study can change. Raises TrainingError if no
    trial was trained to its end.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise TrainingError(f"study {study.study_name}: no trial was trained to its end; see the lines above")
    best = study.best_trial
    values = space.values(best.params)
    with (
        start_run(experiment, resume_run_id=study.user_attrs[PARENT_RUN]) as run,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        run.log_tags({f"best.{key}": str(value) for key, value in values.items()} | {"best.run": best.user_attrs[RUN]})
        run.log_metrics({METRIC: study.best_value}, step=len(study.trials))
        (folder / "best.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        study.trials_dataframe(attrs=("number", "value", "state", "duration", "params", "user_attrs")).to_csv(
            folder / "trials.csv", index=False
        )
        _draw(study, folder, len(complete))
        run.log_artifacts(folder, "sweep")
        for trial_run in _abandoned_runs(study):
            with store_errors():
                open_client().set_terminated(trial_run, "FAILED")
    pruned = len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))
    return [
        f"{len(complete)} trials trained to their end, {pruned} stopped early; the best is trial {best.number}, "
        f"{METRIC} {study.best_value:.4f}",
        f"train with its settings: {experiment_command(values, f'{study.study_name}-best')}",
    ]


def _draw(study: optuna.Study, folder: Path, complete: int) -> None:
    """Draw the course of the study and the importance of its settings."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as drawing

    drawn: dict[str, Callable[[optuna.Study], object]] = {"optimization_history": drawing.plot_optimization_history}
    if complete > 1:
        drawn["param_importances"] = drawing.plot_param_importances
    for name, draw in drawn.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            draw(study)
            pyplot.savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
        pyplot.close("all")


def _abandoned_runs(study: optuna.Study) -> set[str]:
    """MLflow runs of trials whose workers died again and again, which no worker has ended."""
    trials = study.get_trials(deepcopy=False)
    kept = {trial.user_attrs.get(RUN) for trial in trials if trial.state != TrialState.FAIL}
    return {trial.user_attrs[RUN] for trial in trials if RUN in trial.user_attrs} - kept
