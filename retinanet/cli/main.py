"""The command `retinanet`."""

import argparse
import io
import sys
from collections.abc import Callable

import retinanet
from retinanet.cli.options import data_commands, deciding_commands, record_commands, training_commands
from retinanet.cli.using_options import using_commands
from retinanet.errors import RetinanetError, exit_on_error
from retinanet.threads import wait_without_spinning

Parser = argparse.ArgumentParser
# The optional extra of pyproject.toml that a package belongs to; others are of the command's.
EXTRAS = {"rasterio": "raster", "pyogrio": "raster"}
GROUPS = {
    "data": data_commands,
    "training": training_commands,
    "deciding": deciding_commands,
    "record": record_commands,
    "using": using_commands,
}


@exit_on_error
def main() -> int | None:
    """Exit codes: 0 done, 1 an error or an unreadable image, 2 wrong usage, 3 refused or different, 4 undecided."""
    # File names may have characters that the terminal's encoding lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = _parser().parse_args()
    wait_without_spinning()
    try:
        return arguments.command(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "retinanet").split(".")[0] == "retinanet":
            raise
        extra = EXTRAS.get(error.name or "", arguments.extra)
        raise RetinanetError(
            f"this command needs {error.name}, which is not installed; run pip install 'retinanet[{extra}]'"
        ) from error


def _parser() -> Parser:
    parser = Parser(
        prog="retinanet",
        usage="retinanet [-h] [--version] COMMAND ...",
        description="Train, promote and use a RetinaNet detector.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"retinanet {retinanet.__version__}")
    parsers = parser.add_subparsers(prog="retinanet", required=True, metavar="COMMAND", help=argparse.SUPPRESS)

    def command(run: Callable[[argparse.Namespace], int], summary: str, example: str) -> Parser:
        name = run.__name__.replace("_", "-")
        description = f"{summary[0].upper()}{summary[1:]}."
        # No help=: the groups below list the commands.
        added = parsers.add_parser(name, description=description, epilog=f"e.g. retinanet {name} {example}".rstrip())
        added.set_defaults(command=run, summary=summary, parser=added, extra="pipeline")
        return added

    for group, add_commands in GROUPS.items():
        members = add_commands(command)
        rows = [f"  {member.prog.split()[-1]:16}{member.get_default('summary')}" for member in members]
        parser.epilog = "\n".join([*([parser.epilog, ""] if parser.epilog else []), f"{group}:", *rows])
    return parser


if __name__ == "__main__":
    main()
