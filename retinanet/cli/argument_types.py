"""Types of the command line's options."""

import math
import re
from argparse import ArgumentTypeError


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ArgumentTypeError(f"{text} is not 1 or more")
    return value


def rate(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text} is not a number above 0")
    return value


def fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text} is not in 0..1")
    return value


def port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise ArgumentTypeError(f"{text} is not in 0..65535")
    return value


def file_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", text):
        raise ArgumentTypeError(f"{text} is not a name of letters, digits, _, - and .")
    return text
