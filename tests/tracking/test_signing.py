import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)
from support.signing_keys import make_keys

from retinanet.errors import TrackingError
from retinanet.tracking.comparison import Gate
from retinanet.tracking.promotion import promote
from retinanet.tracking.registry import find_version, model_files
from retinanet.tracking.signing import SIGNATURE_TAG, SignatureError, require_signed, sign
from retinanet.tracking.store import open_client

MODEL = "retinanet"
GATE = Gate("AP50", 0.3)


@pytest.fixture
def keys(tmp_path) -> Path:
    return make_keys(tmp_path / "release")


def signed(keys: Path, number: int):
    client = open_client()
    sign(client, find_version(client, MODEL, number), keys)
    return client, find_version(client, MODEL, number)


def test_signed_version_is_accepted_and_promoted(make_version, keys):
    client, version = signed(keys, make_version())
    require_signed(client, version, f"{keys}.pub")
    assert promote(MODEL, 1, GATE, trusted_keys=f"{keys}.pub").accepted
    # Promotion changes tags and aliases, which are not signed.
    require_signed(client, find_version(client, MODEL, 1), f"{keys}.pub")


def test_promote_without_a_required_signature_is_an_error_that_says_how_to_sign(make_version, keys):
    make_version()
    with pytest.raises(SignatureError, match="version 1 is not signed; `retinanet sign 1 --key FILE` signs it"):
        promote(MODEL, 1, GATE, trusted_keys=f"{keys}.pub")
    assert promote(MODEL, 1, GATE).accepted


def test_signature_of_another_key_is_refused(make_version, keys, tmp_path):
    client, version = signed(make_keys(tmp_path / "other"), make_version())
    with pytest.raises(SignatureError, match=r"is signed by SHA256:.* does not list"):
        require_signed(client, version, f"{keys}.pub")
    both = tmp_path / "both.pub"
    both.write_text(
        "# release and other\n" + Path(f"{keys}.pub").read_text() + Path(tmp_path / "other.pub").read_text()
    )
    require_signed(client, version, both)


def test_signature_under_the_name_of_a_trusted_key_is_not_valid(make_version, keys, tmp_path):
    number = make_version()
    client, trusted = signed(keys, number)
    keyid = json.loads(trusted.tags[SIGNATURE_TAG])["signatures"][0]["keyid"]
    _, forged = signed(make_keys(tmp_path / "other"), number)
    envelope = json.loads(forged.tags[SIGNATURE_TAG])
    envelope["signatures"][0]["keyid"] = keyid
    client.set_model_version_tag(MODEL, str(number), SIGNATURE_TAG, json.dumps(envelope))
    with pytest.raises(SignatureError, match=r"the signature by SHA256:.* is not valid"):
        require_signed(client, find_version(client, MODEL, number), f"{keys}.pub")


def test_signature_of_another_version_is_refused(make_version, keys):
    client, first = signed(keys, make_version(0.5))
    make_version(0.6)
    client.set_model_version_tag(MODEL, "2", SIGNATURE_TAG, first.tags[SIGNATURE_TAG])
    with pytest.raises(SignatureError, match=r"version 2 differs from what was signed: .*version: signed 1, now 2"):
        require_signed(client, find_version(client, MODEL, 2), f"{keys}.pub")


def test_bytecode_beside_the_code_is_refused(make_version, keys):
    client, version = signed(keys, make_version())
    with model_files(client, version) as folder:
        path = folder / "code" / "retinanet" / "__pycache__" / "errors.cpython-311.pyc"
        path.parent.mkdir()
        path.write_bytes(b"")
        with pytest.raises(SignatureError, match=r"errors\.cpython-311\.pyc: added"):
            require_signed(client, version, f"{keys}.pub")


def test_sign_of_changed_files_is_an_error(make_version, keys):
    client = open_client()
    version = find_version(client, MODEL, make_version())
    with model_files(client, version) as folder:
        (folder / "MLmodel").write_text("changed")
        with pytest.raises(TrackingError, match="digest mismatch"):
            sign(client, version, keys)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_openssl_accepts_the_signature_of_the_envelope(make_version, keys, tmp_path):
    _, version = signed(keys, make_version())
    envelope = json.loads(version.tags[SIGNATURE_TAG])
    payload = base64.b64decode(envelope["payload"])
    # DSSE's pre-authentication encoding.
    (tmp_path / "signed").write_bytes(b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload))
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    public = load_ssh_public_key(Path(f"{keys}.pub").read_bytes())
    (tmp_path / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    arguments = ["-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "signed", "-sigfile", "signature"]
    done = subprocess.run(["openssl", "pkeyutl", *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert "Signature Verified Successfully" in done.stdout, done.stderr
    require_signed(open_client(), version, tmp_path / "key.pem")


@pytest.mark.parametrize("content", [None, "", "ssh-ed25519 AAAA", "-----BEGIN PUBLIC KEY-----\n"])
def test_damaged_public_keys_are_one_line_with_the_command_that_makes_a_pair(make_version, keys, tmp_path, content):
    client, version = signed(keys, make_version())
    path = tmp_path / "damaged.pub"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SignatureError, match=r"damaged\.pub: not a file of .*ssh-keygen -t ed25519"):
        require_signed(client, version, path)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
    ],
)
def test_private_key_that_is_missing_or_of_another_kind_or_encrypted_is_an_error(make_version, tmp_path, content):
    client = open_client()
    version = find_version(client, MODEL, make_version())
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SignatureError, match=r"key: not .*ssh-keygen -t ed25519"):
        sign(client, version, path)
