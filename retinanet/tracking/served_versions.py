"""The registered versions of a model, for a service that follows an alias."""

from retinanet.export.runtimes import load_exported
from retinanet.inference.detector import Detector
from retinanet.tracking.registered_weights import named_version
from retinanet.tracking.registry import find_version, model_files
from retinanet.tracking.store import open_client, store_errors


class RegisteredModel:
    """models:/NAME@ALIAS, which may name another version later, or models:/NAME/VERSION. Raises TrackingError."""

    def __init__(self, uri: str):
        self._uri, self._client = uri, open_client()
        self.name = named_version(self._client, uri).name
        self.follows = "@" in uri

    def find(self) -> str:
        """The version that the URI names now. Raises TrackingError."""
        return str(named_version(self._client, self._uri).version)

    def open(self, version: str) -> Detector:
        """Open a version's exported model, if its files are those that were registered. Raises RetinanetError."""
        with store_errors():
            found = find_version(self._client, self.name, version)
        with model_files(self._client, found) as folder:
            return load_exported(folder / "artifacts" / "exported")
