import errno
import subprocess
import sys

import pytest

from retinanet.errors import ParamsError, disk_full, exit_on_error, first_of


def test_retinanet_error_is_one_line_and_exit_code_1(capsys):
    @exit_on_error
    def main():
        raise ParamsError("params.yaml: two\nlines")

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: params.yaml: two lines\n"


def test_exit_code_of_main_is_returned():
    with pytest.raises(SystemExit) as stop:
        exit_on_error(lambda: 3)()
    assert stop.value.code == 3


def test_traceback_is_shown_if_requested(monkeypatch):
    @exit_on_error
    def main():
        raise ParamsError("x")

    monkeypatch.setenv("RETINANET_TRACEBACK", "1")
    with pytest.raises(ParamsError):
        main()


def test_ctrl_c_has_exit_code_130_without_traceback(capsys):
    @exit_on_error
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        main()
    assert (stop.value.code, capsys.readouterr().err) == (130, "interrupted\n")


def test_closed_output_has_no_traceback():
    code = "from retinanet.errors import exit_on_error\nexit_on_error(lambda: print('x\\n' * 100_000))()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as program:
        program.stdout.readline()
        program.stdout.close()
        assert program.stderr.read() == ""
        assert program.wait(20) == 141


@pytest.mark.parametrize(("code", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EACCES, False)])
def test_disk_full_by_error_number(code, full):
    assert disk_full(OSError(code, "")) is full


def test_a_full_disk_is_one_line(capsys):
    @exit_on_error
    def main():
        raise OSError(errno.ENOSPC, "No space left on device", "models/run.json")

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    expected = "error: models/run.json could not be written: No space left on device; free some space\n"
    assert capsys.readouterr().err == expected


def test_other_os_errors_are_raised():
    with pytest.raises(PermissionError):
        exit_on_error(lambda: (_ for _ in ()).throw(PermissionError(errno.EACCES, "no")))()


def test_a_message_names_the_first_of_many():
    assert first_of(["a", "b"], 2) == "a, b"
    assert first_of(["a", "b", "c"], 2, "; ") == "a; b …"
