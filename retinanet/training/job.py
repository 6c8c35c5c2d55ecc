"""A training on prepared data, as the train stage, a sweep's trials and the benchmarks run it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from retinanet import distributed
from retinanet.config.settings import Params
from retinanet.dataset.coco import read_coco
from retinanet.errors import ParamsError, TrainingError
from retinanet.files import repo_root
from retinanet.images.preprocess import InputSize
from retinanet.images.tiles import Tiling
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import TrainedModel, save_model
from retinanet.prepare.decisions import read_decisions
from retinanet.runtime import chosen_device
from retinanet.training.fingerprint import training_fingerprint
from retinanet.training.fit import Epoch, TrainingSets, fit
from retinanet.training.history import History
from retinanet.training.process import StopSignal
from retinanet.training.start import starting_model

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class TrainingJob:
    """The network at its start and what it will be trained on. paths is stages/paths.py."""

    params: Params
    sets: TrainingSets
    tiling: Tiling
    model: RetinaNet
    messages: list[str]  # about the initial weights
    paths: ModuleType

    @property
    def device(self) -> torch.device:
        return chosen_device(self.params.runtime.device)

    @property
    def input_size(self) -> InputSize:
        return InputSize(self.params.model.short_side, self.params.model.long_side)

    def fingerprint(self) -> str:
        """See training_fingerprint; to be called before the first step.

        Raises ParamsError if the processes cannot share a batch equally, and TrainingError if they would train
        different things, e.g. on hosts with other data.
        """
        world, runtime, batch_size = distributed.world(), self.params.runtime, self.params.train.batch_size
        if batch_size % (world.size * runtime.accumulation_steps):
            raise ParamsError(
                f"train.batch_size is {batch_size}; it must be a multiple of all processes ({world.size}) times "
                f"runtime.accumulation_steps ({runtime.accumulation_steps})"
            )
        data = [self.paths.TRAIN_JSON, self.paths.VAL_JSON, self.paths.IMAGE_INDEX, self.paths.DECISIONS]
        fingerprint = training_fingerprint(self.params, data, self.model.state_dict(), REPOSITORY)
        ours = f"{fingerprint} on {self.device.type} in {runtime.accumulation_steps} micro-batches"
        by_rank = distributed.all_gather([ours])
        if len(set(by_rank)) > 1:
            different = ", ".join(f"rank {rank}: {text}" for rank, text in enumerate(by_rank))
            raise TrainingError(
                f"the processes would train different things ({different}); every host needs the same code, "
                "params.yaml, data/prepared, initial weights and kind of device"
            )
        return fingerprint

    def epochs(self, folder: Path, stop: StopSignal | None = None) -> Iterator[Epoch]:
        """Train; see fit. folder is that of the checkpoints."""
        runtime = self.params.runtime
        cache = repo_root() / self.paths.IMAGE_CACHE if runtime.cache_images else None
        train = self.params.train
        return fit(self.model, self.sets, train, runtime, self.input_size, self.device, folder, cache, stop)

    def recorded_epochs(self, history: History, stop: StopSignal) -> Iterator[Epoch]:
        """Train; each epoch's row and the best weights are stored in the history before the epoch is yielded."""
        train_set = self.sets.train
        trained = TrainedModel(
            self.model,
            train_set.class_names,
            train_set.category_ids,
            self.input_size,
            self.tiling,
            reading=train_set.reading,
        )
        for epoch in self.epochs(history.folder, stop):
            history.add(epoch)
            if epoch.is_best:
                save_model(history.best_weights, trained, epoch.weights)
            yield epoch


def training_job(params: Params, sets: TrainingSets, weights: str, paths: ModuleType) -> TrainingJob:
    """Build the network with its initial weights, and settle the settings that depend on the data.

    weights is params.model.weights, or the file of a registered version. Raises RetinanetError.
    """
    decisions = read_decisions(paths.DECISIONS)
    train = params.train.for_data(decisions.orientation, len(sets.train.images), decisions.epochs)
    packaged = {params.download.weights.backbone: paths.WEIGHTS / Path(params.download.weights.member).name}
    model, messages = starting_model(params.model, train.seed, sets.train.class_names, weights, packaged)
    tiling = Tiling(decisions.tile_size, decisions.tile_overlap)
    return TrainingJob(params.model_copy(update={"train": train}), sets, tiling, model, messages, paths)


def read_sets(paths: ModuleType) -> TrainingSets:
    return TrainingSets(read_coco(paths.TRAIN_JSON), read_coco(paths.VAL_JSON))
