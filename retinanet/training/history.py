"""The epochs of a training as a table that outlives an interruption."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from retinanet.files import write_text
from retinanet.training.fit import Epoch


@dataclass(frozen=True)
class History:
    """The finished epochs, the best weights and the tracking run's id, kept beside the checkpoints in `folder`."""

    folder: Path

    @property
    def best_weights(self) -> Path:
        return self.folder / "best.safetensors"

    def run_id(self) -> str | None:
        path = self.folder / "run_id"
        return path.read_text() if path.exists() else None

    def keep_run_id(self, run_id: str) -> None:
        write_text(self.folder / "run_id", run_id)

    def add(self, epoch: Epoch) -> None:
        """Add a row. An epoch that is run again, since its checkpoint was not written, replaces its row."""
        table = self.table()
        earlier = table[table["epoch"] < epoch.number]
        rows = [*earlier.to_dict("records"), {"epoch": epoch.number, **epoch.metrics}]
        write_text(self._path, pd.DataFrame(rows).to_csv(index=False))

    def table(self) -> pd.DataFrame:
        """A row for each epoch: `epoch` and its metrics."""
        return pd.read_csv(self._path) if self._path.exists() else pd.DataFrame({"epoch": []})

    def validations(self) -> pd.DataFrame:
        """The rows of epochs that were validated."""
        table = self.table()
        return table[table["val/AP"].notna()].dropna(axis="columns")

    def best(self) -> pd.Series:
        """The row of the epoch whose weights were kept: the highest AP on val, the latest of equals."""
        return self.validations().sort_values("val/AP", kind="stable").iloc[-1]

    def write_tables(self, folder: Path) -> None:
        """Write history.csv, the training metrics of all epochs, and validation.csv."""
        table = self.table()
        train_columns = [column for column in table.columns if not column.startswith("val/")]
        table[train_columns].to_csv(folder / "history.csv", index=False)
        self.validations().to_csv(folder / "validation.csv", index=False)

    @property
    def _path(self) -> Path:
        return self.folder / "history.csv"


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """One line about an epoch, of `epochs`, for the terminal."""
    metrics = epoch.metrics
    line = f"epoch {epoch.number}/{epochs} in {metrics['seconds']:.0f} s, loss {metrics['train/loss']:.3f}"
    if "val/AP50" in metrics:
        line += f", val AP50 {metrics['val/AP50']:.3f} AP {metrics['val/AP']:.3f}" + (", best" if epoch.is_best else "")
    return f"{line}, about {metrics['seconds'] * (epochs - epoch.number) / 60:.0f} min left"
