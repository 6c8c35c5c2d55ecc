from pathlib import Path

import pytest
from support.finished_pipeline import MODEL, run_stages
from support.signing_keys import make_keys

from retinanet.cli.main import main as cli
from retinanet.tracking.publication import SIGNING_KEY
from retinanet.tracking.store import open_client


@pytest.fixture
def run(finished, monkeypatch, capsys):
    """Run a command in a repository with version 1; its exit code and output."""

    def command(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["retinanet", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli()
        printed = capsys.readouterr()
        return end.value.code, printed.out + printed.err

    return command


def test_sync_says_what_it_added_or_that_nothing_is_missing(run):
    assert run("sync") == (0, "MLflow has this workspace's run and version already\n")


def test_sign_then_verify(run):
    make_keys(Path("release"))
    code, output = run("sign", "1", "--key", "release")
    assert code == 0 and output.startswith("retinanet version 1 signed by SHA256:")
    code, output = run("verify", "1", "--key", "release.pub")
    assert code == 0 and output.endswith("verified: retinanet version 1\n")
    open_client().set_model_version_tag(MODEL, "1", "metric.AP50", "0.99")
    code, output = run("verify", "1", "--key", "release.pub")
    assert code == 3
    assert "failed  signature: tag metric.AP50: signed 0." in output
    assert "ok      data:      the test set is the one of training" in output
    assert output.endswith("refused: retinanet version 1 failed signature, tags\n")


def test_sign_refuses_a_version_that_contradicts_its_record(run):
    make_keys(Path("release"))
    open_client().set_model_version_tag(MODEL, "1", "metric.AP50", "0.99")
    code, output = run("sign", "1", "--key", "release")
    assert code == 3
    assert output.startswith("refused, nothing is signed: tag metric.AP50 is 0.99, recorded is 0.")


def test_verify_needs_a_trusted_key_or_unsigned(run):
    code, output = run("verify", "1")
    assert code == 1 and "use --key FILE or promote.require_signature, or --unsigned" in output
    code, output = run("verify", "1", "--unsigned")
    assert code == 0 and output.endswith("verified: retinanet version 1, without a signature\n")


def test_required_signature_holds_for_verify_promote_and_predict(run):
    make_keys(Path("release"))
    text = Path("params.yaml").read_text()
    assert "require_signature: ''" in text
    Path("params.yaml").write_text(text.replace("require_signature: ''", "require_signature: release.pub"))
    commands = [("verify", "1"), ("promote", "--allow-dirty"), ("predict", "a.png", "--model", "models:/retinanet/1")]
    for command in commands:
        code, output = run(*command)
        assert (code, "version 1 is not signed" in output) == (3 if command[0] == "verify" else 1, True), command
    assert run("sign", "1", "--key", "release")[0] == 0
    assert [run(*command)[0] for command in commands[:2]] == [0, 0]
    assert "a.png" in run(*commands[2])[1]


def test_new_version_is_signed_with_the_key_of_the_environment(run, monkeypatch):
    make_keys(Path("release"))
    monkeypatch.setenv(SIGNING_KEY, "release")
    assert run_stages(b"weights") == 1  # it exists already: who registered it is unknown
    assert run("verify", "1", "--key", "release.pub")[0] == 3
    assert run_stages(b"other weights") == 2
    assert run("verify", "2", "--key", "release.pub")[0] == 0


def test_reproduce_dry_run_says_what_would_be_done(run):
    code, output = run("reproduce", "1", "--dry-run")
    assert code == 0
    assert output.startswith("check out commit ") and output.count("\n") == 5
