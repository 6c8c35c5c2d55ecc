"""Errors that a user can fix, and the exit codes of programs."""

import difflib
import errno
import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence


class RetinanetError(Exception):
    """An error that the user can fix; the message names the file, the value and the fix."""


class ParamsError(RetinanetError):
    """params.yaml has an invalid value."""


class DownloadError(RetinanetError):
    """A source cannot be fetched, verified or unpacked."""


class AnnotationError(RetinanetError):
    """An annotation file contradicts itself or the images."""


class ImageError(RetinanetError):
    """A file cannot be read as an image."""


class WeightsError(RetinanetError):
    """Weights are missing, damaged, or belong to another network."""


class TrainingError(RetinanetError):
    """Training cannot start or continue."""


class EvaluationError(RetinanetError):
    """There is nothing to evaluate, or metrics are NaN or infinite."""


class ExportError(RetinanetError):
    """An exported model gives different detections from the trained one."""


class TrackingError(RetinanetError):
    """The MLflow store lacks a requested entry, or cannot be reached."""


def suggestion(name: str, names: Iterable[str], count: int = 1) -> str:
    """A question that names up to `count` of the names nearest to a mistyped one; empty if none is near."""
    nearest = difflib.get_close_matches(name, list(names), n=count, cutoff=0.4)
    return f"did you mean {', '.join(nearest)}?" if nearest else ""


def first_of(items: Sequence[str], count: int = 8, separator: str = ", ") -> str:
    """Up to `count` of the items (classes, files) for a message, with an ellipsis if there are more."""
    return separator.join(items[:count]) + (" …" if len(items) > count else "")


def disk_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def exit_on_error(main: Callable[[], int | None]) -> Callable[[], None]:
    """Wrap `main` as a program: a RetinanetError or a full disk is one line on stderr and exit code 1, Ctrl-C 130.

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
        except BrokenPipeError:  # the reader of the output, perhaps `head`, has closed it
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
        return f"{error.filename or 'a file'} could not be written: {error.strerror}; free some space"
    return None
