"""Sending a run's entries to the store in their order, without ever holding up or ending the training."""

import time
from typing import TYPE_CHECKING

from retinanet.errors import TrackingError
from retinanet.tracking.entries import ArtifactStoreError, send_entry
from retinanet.tracking.failures import fix_of, is_refusal, reason_of, shown_uri, unreachable
from retinanet.tracking.spool import Spool
from retinanet.tracking.store import open_client, write_obstacle

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRY_AFTER_S = 30.0  # doubled with each failure in a row
MAX_RETRY_AFTER_S = 480.0
FIRST_ACTIONS = ("create", "find", "reopen")  # entries that select the run of the entries after them


class Delivery:
    """Entries of one run.

    While the store is unreachable, they wait in a file and are sent later. An entry that the store refuses for good is
    named and left out. Artifacts whose own store does not accept them wait for the next stage; the others do not wait
    for them. If the run is deleted meanwhile, everything is logged again to a run that replaces it.
    """

    def __init__(self, run_id: str, first: dict, experiment: str, is_own: bool):
        """is_own says whether this process starts the run. Raises TrackingError if the store refuses to start it."""
        self.run_id = run_id
        self.connections = 0  # how often the store was reached: at the start, after a failure, for a replaced run
        self._experiment, self._is_own = experiment, is_own
        self._client: MlflowClient | None = None
        self._root_id = run_id  # run_id may become that of a child run
        self._sent: list[dict] = []
        self._held: list[dict] = []  # artifacts that wait for the next stage
        self._is_connected = self._is_reported = False
        self._retry_at, self._retry_after = 0.0, RETRY_AFTER_S
        self._spool = Spool(run_id)
        self._waiting = [*self._spool.read(), first]
        self._first: dict | None = first
        self._send_waiting()
        self._first = None

    def send(self, entry: dict) -> None:
        if entry["do"] == "artifact" and self._held:
            self._held.append(entry)
            self._write_spool()
            return
        self._waiting.append(entry)
        if time.monotonic() < self._retry_at:
            self._write_spool()
        else:
            self._send_waiting()

    def finish(self) -> None:
        """Send what waits; what the store does not accept now is left to the next stage."""
        if time.monotonic() >= self._retry_at:  # otherwise it failed just now, and would delay the end
            self._send_waiting()
        if count := len(self._waiting) + len(self._held):
            print(f"tracking: {count} entries wait in {self._spool.path}; the next stage sends them", flush=True)

    def _send_waiting(self) -> None:
        while self._waiting:
            error = self._attempt(self._waiting[0])
            if error is None:
                self._sent.append(self._waiting.pop(0))
            elif not self._pass_by(self._waiting[0], error):
                self._wait(error)
                return
        self._retry_after = RETRY_AFTER_S
        self.connections += not self._is_connected
        self._is_connected = True
        if self._held:
            self._write_spool()
        elif self._spool.path.exists():
            self._spool.remove()
            self._is_reported = False
            print(f"tracking: {shown_uri()} is reachable again; run {self.run_id} is complete", flush=True)

    def _attempt(self, entry: dict) -> Exception | None:
        try:
            if obstacle := write_obstacle():
                return OSError(obstacle)
            self._client = self._client or open_client()
            self.run_id = send_entry(self._client, self.run_id, entry)
            if entry["do"] in FIRST_ACTIONS:
                self._root_id = self.run_id
                self._move_spool(Spool(self.run_id))
        except Exception as error:  # stores of artifacts raise errors of their own libraries
            return error
        return None

    def _pass_by(self, entry: dict, error: Exception) -> bool:
        """Whether the entries after one that failed can be sent now. Raises TrackingError if the run cannot start."""
        if entry["do"] in FIRST_ACTIONS:
            if is_refusal(error) and self._is_own and entry is self._first:
                raise error if isinstance(error, TrackingError) else unreachable(error) from error
            return False
        if is_refusal(error):
            if self._is_deleted():
                self._log_again()
            else:
                self._leave_out(self._waiting.pop(0), error)
            return True
        if isinstance(error, ArtifactStoreError):
            self._hold(error)
            return True
        return False

    def _is_deleted(self) -> bool | None:
        """Whether the store lacks the run; None if it does not say."""
        from mlflow.exceptions import MlflowException

        try:
            run = open_client().get_run(self.run_id)
        except (MlflowException, TrackingError, OSError) as error:
            return True if getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST" else None
        return run.info.lifecycle_stage != "active"

    def _log_again(self) -> None:
        first, *others = self._sent
        again = first | {"do": "reopen" if self._is_own else "find", "run_id": self._root_id}
        self._waiting = [again, *others, *self._waiting]
        self._sent = []
        self._is_connected = False

    def _leave_out(self, entry: dict, error: Exception) -> None:
        name = entry.get("path") or ", ".join(entry.get("values", {})) or entry["do"]
        print(f"tracking: left out: {name[:200]}: {reason_of(error)}; {fix_of(error)}", flush=True)

    def _hold(self, error: Exception) -> None:
        path = self._waiting[0]["path"]
        self._held += [entry for entry in self._waiting if entry["do"] == "artifact"]
        self._waiting = [entry for entry in self._waiting if entry["do"] != "artifact"]
        self._write_spool()
        print(
            f"tracking: {path} could not be stored ({reason_of(error)}); {fix_of(error)}; continuing, artifacts wait "
            f"in {self._spool.path}",
            flush=True,
        )

    def _wait(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + self._retry_after
        self._retry_after = min(self._retry_after * 2, MAX_RETRY_AFTER_S)
        self._is_connected = False
        self._write_spool()
        if not self._is_reported:
            print(
                f"tracking: {shown_uri()} is unreachable ({reason_of(error)}); continuing, entries wait in "
                f"{self._spool.path}; {fix_of(error)}",
                flush=True,
            )
        self._is_reported = True

    def _write_spool(self) -> None:
        entries = self._waiting + self._held
        if entries[0]["do"] in FIRST_ACTIONS:
            entries[0]["waited"] = True
        else:
            # The entry that selects the run was sent already.
            first = {"do": "find", "run_id": self.run_id, "experiment": self._experiment, "tags": {}}
            entries = [first | {"at": time.time_ns() // 1_000_000}, *entries]
        self._spool.write(entries)

    def _move_spool(self, spool: Spool) -> None:
        """Spool under the id that the store gave the run, behind the entries that wait there already."""
        if spool.path == self._spool.path:
            return
        self._waiting[1:1] = spool.read()
        if self._spool.path.exists():
            spool.write(self._waiting + self._held)
            self._spool.remove()
        self._spool = spool
