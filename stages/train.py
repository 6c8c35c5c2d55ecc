"""Train the network on data/prepared and keep the epoch that is best on val: models/trained.safetensors."""

import shutil
from pathlib import Path
from typing import Any

from retinanet import distributed
from retinanet.config.params import flat, load_params
from retinanet.errors import exit_on_error
from retinanet.files import new_folder, repo_root, sha256_of, write_json
from retinanet.runtime import keep_freed_memory
from retinanet.tracking.publication import log_training_end, log_training_start
from retinanet.tracking.registered_weights import resolve_weights
from retinanet.tracking.runs import start_run, write_run_file
from retinanet.tracking.sbom import sbom
from retinanet.tracking.training_record import training_record
from retinanet.training.checkpoint import discard_old, lock_folder
from retinanet.training.history import History, epoch_line
from retinanet.training.job import TrainingJob, read_sets, training_job
from retinanet.training.launch import launch, needs_launch
from retinanet.training.process import StopSignal, stop_with_parent
from stages import paths


@exit_on_error
def main() -> int | None:
    params = load_params(paths.PARAMS)
    is_one_of_several = distributed.is_started()
    stop_with_parent(is_one_of_several)
    if needs_launch(params.runtime.processes) and not is_one_of_several:
        return launch("stages.train", params.runtime.processes)
    # torchrun repeats a signal that the terminal has already sent to every process.
    stop = StopSignal(second_ends=not is_one_of_several)
    keep_freed_memory()
    with distributed.process_group() as world:
        with resolve_weights(params.model.weights) as weights:
            job = training_job(params, read_sets(paths), weights, paths)
        folder = repo_root() / paths.CHECKPOINTS / job.fingerprint()
        if world.rank:
            for _ in job.epochs(folder, stop):
                pass
            return None
        count = len(job.sets.train.images)
        print(f"train: {job.params.train.epochs} epochs over {count} images on {job.device}")
        for line in job.messages:
            print(f"train: {line}", flush=True)
        with lock_folder(folder):
            _discard_old(folder)
            _train(job, History(folder), stop)
            # Only now that the stage's outputs exist: until then, an interrupted stage resumes from this folder.
            shutil.rmtree(folder)
    return None


def _discard_old(folder: Path) -> None:
    discarded, others = discard_old(folder)
    for action, names in (("discarded", discarded), ("ignored", others)):
        if names:
            print(f"train: {action} checkpoints of other params, data, code or initial weights: {', '.join(names)}")


def _train(job: TrainingJob, history: History, stop: StopSignal) -> None:
    record, images = _record(job), len(job.sets.train.images)
    with start_run(job.params.tracking.experiment, record["name"], history.run_id(), record["description"]) as run:
        history.keep_run_id(run.id)
        run.log_system_metrics()
        log_training_start(run, record, paths)
        for epoch in job.recorded_epochs(history, stop):
            run.log_metrics(epoch.metrics, step=epoch.number)
            print(f"train: {epoch_line(epoch, job.params.train.epochs_for(images))}", flush=True)
        paths.TRAINED.parent.mkdir(exist_ok=True)
        shutil.copy(history.best_weights, paths.TRAINED)
        write_run_file(paths.RUN, run, sha256_of(paths.TRAINED))
        with new_folder(paths.TRAIN_REPORT) as report:
            history.write_tables(report)
            write_json(report / paths.TRAINING_RECORD.name, record)
            write_json(report / paths.SBOM.name, sbom())
        log_training_end(run, paths)
    best = history.best()
    print(
        f"train: {paths.TRAINED}: epoch {best['epoch']:.0f}, val AP50 {best['val/AP50']:.3f} AP {best['val/AP']:.3f}; "
        f"curves in {paths.TRAIN_REPORT}"
    )


def _record(job: TrainingJob) -> dict[str, Any]:
    settings = flat({"model": job.params.model.model_dump(), "train": job.params.train.model_dump()})
    datasets = {"train": job.sets.train, "val": job.sets.val}
    return training_record(settings, job.params.download.source_name(), paths.SPLITS, datasets, job.device)


if __name__ == "__main__":
    main()
