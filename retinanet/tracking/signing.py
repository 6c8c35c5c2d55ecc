"""Signatures of versions: an in-toto statement of all digests, in a DSSE envelope, signed with an ed25519 key.

The envelope is a tag of the version. A statement covers the version's files (model, ONNX, code, and the record with
params, dvc.lock, SBOM and detections), the tags that it was registered with, and its description.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retinanet.errors import TrackingError
from retinanet.files import sha256_of
from retinanet.tracking.registry import model_files, unchecked_files

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SIGNATURE_TAG = "signature"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "urn:retinanet:version:1"
# Promotion adds other tags later.
SIGNED_TAGS = (
    *("classes", "model_id", "model_sha256", "export_sha256", "artifact.digest", "evaluation.digest"),
    *("code.digest", "dirty", "dirty.files", "dvc.experiment", "git.commit"),
)
SIGNED_PREFIX = "metric."
# MLflow adds this to a download. Bytecode is not left out: Python runs it in place of the source.
UNSIGNED_FILE = "registered_model_meta"
KEY_HINT = "`ssh-keygen -t ed25519 -N '' -f signing-key` makes a pair of files"


class SignatureError(TrackingError):
    """A version is not signed, not by a trusted key, or differs from what was signed."""


def sign(client: "MlflowClient", version: "ModelVersion", key_file: Path) -> str:
    """Sign a version whose files have their registered digest; returns the key's fingerprint. Raises TrackingError."""
    key = _private_key(key_file)
    with model_files(client, version) as folder:
        payload = json.dumps(statement(version, folder), sort_keys=True).encode()
    public = key.public_key()
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": fingerprint(public), "sig": base64.b64encode(key.sign(_encoded(payload))).decode()}],
    }
    client.set_model_version_tag(version.name, version.version, SIGNATURE_TAG, json.dumps(envelope))
    return fingerprint(public)


def require_signed(client: "MlflowClient", version: "ModelVersion", public_keys: Path | str) -> None:
    """Raise SignatureError unless a key of the file signed the version as it is; no public_keys: nothing is required.

    Nothing of the version is executed.
    """
    if not public_keys:
        return
    signed = signed_statement(version, Path(public_keys))
    with unchecked_files(client, version) as folder:
        if found := differences(signed, statement(version, folder)):
            raise SignatureError(f"{_name(version)} differs from what was signed: {'; '.join(found[:5])}")


def signed_statement(version: "ModelVersion", public_keys: Path) -> dict[str, Any]:
    """The statement that one of the keys signed about this version. Raises SignatureError."""
    trusted = {fingerprint(key): key for key in _public_keys(public_keys)}
    text = version.tags.get(SIGNATURE_TAG)
    if text is None:
        raise SignatureError(f"{_name(version)} is not signed; `retinanet sign {version.version} --key FILE` signs it")
    try:
        envelope = json.loads(text)
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = {row["keyid"]: base64.b64decode(row["sig"], validate=True) for row in envelope["signatures"]}
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise SignatureError(f"{_name(version)}: its signature cannot be read ({error}); sign it again") from error
    known = signatures.keys() & trusted.keys()
    if not known:
        raise SignatureError(
            f"{_name(version)} is signed by {', '.join(signatures) or 'nobody'}, which {public_keys} does not list"
        )
    if not any(_is_valid(trusted[name], signatures[name], payload) for name in known):
        raise SignatureError(f"{_name(version)}: the signature by {', '.join(known)} is not valid")
    return json.loads(payload)


def statement(version: "ModelVersion", folder: Path) -> dict[str, Any]:
    """What there is to sign about a version with its files in `folder`: an in-toto statement."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path: path.relative_to(folder) for path in paths}
    tags = {k: v for k, v in version.tags.items() if k in SIGNED_TAGS or k.startswith(SIGNED_PREFIX)}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": name.as_posix(), "digest": {"sha256": sha256_of(path)}}
            for path, name in names.items()
            if name.as_posix() != UNSIGNED_FILE
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "model": version.name,
            "version": str(version.version),
            "run_id": version.run_id,
            "tags": tags,
            "description": hashlib.sha256((version.description or "").encode()).hexdigest(),
        },
    }


def differences(signed: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs between two statements about a version, a text for each."""
    files = [{row["name"]: row["digest"]["sha256"] for row in content["subject"]} for content in (signed, found)]
    predicates = [content["predicate"] for content in (signed, found)]
    tags = [predicate["tags"] for predicate in predicates]
    about = ({key: value for key, value in predicate.items() if key != "tags"} for predicate in predicates)
    texts = [
        "description (model card): changed" if name == "description" else f"{name}: signed {before}, now {after}"
        for name, before, after in _changed(*about)
    ]
    texts += [f"file {name}: {_change(before, after)}" for name, before, after in _changed(*files)]
    texts += [f"tag {name}: signed {before}, now {after}" for name, before, after in _changed(*tags)]
    return texts


def fingerprint(key: "Ed25519PublicKey") -> str:
    """The fingerprint of a public key, as ssh-keygen -l shows it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    content = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
    digest = hashlib.sha256(base64.b64decode(content)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, str, str]]:
    names = dict.fromkeys([*before, *after])
    pairs = ((name, before.get(name, "none"), after.get(name, "none")) for name in names)
    return [(name, old, new) for name, old, new in pairs if old != new]


def _change(before: str, after: str) -> str:
    return "missing" if after == "none" else "added" if before == "none" else "changed"


def _encoded(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding, which binds the type of the payload."""
    kind = PAYLOAD_TYPE.encode()
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def _is_valid(key: "Ed25519PublicKey", signature: bytes, payload: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, _encoded(payload))
    except InvalidSignature:
        return False
    return True


def _private_key(path: Path) -> "Ed25519PrivateKey":
    """Read an OpenSSH or PEM file. Raises SignatureError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    try:
        content = path.read_bytes()
        load = load_ssh_private_key if b"OPENSSH" in content else load_pem_private_key
        key = load(content, None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"{path}: not a private key without a passphrase ({error}); {KEY_HINT}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path}: not an ed25519 key; {KEY_HINT}")
    return key


def _public_keys(path: Path) -> list["Ed25519PublicKey"]:
    """The keys of a file: a PEM block, or OpenSSH keys, one a line. Raises SignatureError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

    try:
        content = path.read_bytes()
        lines = [line for line in content.splitlines() if line.strip() and not line.startswith(b"#")]
        is_pem = content.startswith(b"-----BEGIN")
        keys = [load_pem_public_key(content)] if is_pem else [load_ssh_public_key(line) for line in lines]
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"{path}: not a file of public keys ({error}); {KEY_HINT}") from error
    found = [key for key in keys if isinstance(key, Ed25519PublicKey)]
    if not found or len(found) < len(keys):
        raise SignatureError(f"{path}: not a file of ed25519 public keys; {KEY_HINT}")
    return found


def _name(version: "ModelVersion") -> str:
    return f"{version.name} version {version.version}"
