"""The errors a user can mend, and how a program ends on one."""

import errno
import functools
import os
import sys
from collections.abc import Callable


class RetinanetError(Exception):
    """A fault that one line explains: it names the file, the value and the mend."""


class ParamsError(RetinanetError):
    """params.yaml says something that cannot be."""


class DownloadError(RetinanetError):
    """A source could not be fetched, checked or unpacked."""


class AnnotationError(RetinanetError):
    """An annotation file contradicts itself or the images."""


class ImageError(RetinanetError):
    """A file could not be read as an image."""


class WeightsError(RetinanetError):
    """Weights are missing, damaged, or of another network."""


class TrainingError(RetinanetError):
    """Training cannot start or go on."""


class EvaluationError(RetinanetError):
    """There is nothing to measure, or the measured numbers are none."""


class ExportError(RetinanetError):
    """An exported model does not say what the trained one says."""


class TrackingError(RetinanetError):
    """The MLflow store lacks what was asked for, or cannot be reached."""


def disk_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def exit_on_error(main: Callable[[], int | None]) -> Callable[[], None]:
    """Make a program of `main`: a RetinanetError or a full disk is one line on stderr and exit code 1, Ctrl-C 130.

    RETINANET_TRACEBACK=1 in the environment shows the traceback instead.
    """

    @functools.wraps(main)
    def program() -> None:
        try:
            code = main()
            sys.stdout.flush()
            sys.exit(code)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)
        except BrokenPipeError:  # whoever read the output, `head` perhaps, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except (RetinanetError, OSError) as error:
            line = _line(error)
            if line is None or os.environ.get("RETINANET_TRACEBACK"):
                raise
            print(f"error: {line}", file=sys.stderr)
            sys.exit(1)

    return program


def _line(error: RetinanetError | OSError) -> str | None:
    if isinstance(error, RetinanetError):
        return " ".join(str(error).split())
    if disk_full(error):
        return f"{error.filename or 'a file'} could not be written: {error.strerror}; make room"
    return None
