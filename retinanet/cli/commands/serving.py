"""The command that serves a model over HTTP."""

import dataclasses
import os
import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from retinanet.cli.argument_types import port, positive
from retinanet.cli.workspace import trusted_keys
from retinanet.serving.limits import Limits

if TYPE_CHECKING:
    from retinanet.serving.models import ModelSource


def add_options(parser: ArgumentParser) -> None:
    parser.set_defaults(extra="serve")
    parser.add_argument(
        "--model",
        help="an exported model (.onnx, .xml), models:/NAME@ALIAS or models:/NAME/VERSION "
        "(default: what this workspace exported to be served)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=port, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument(
        "--follow",
        type=positive,
        default=5,
        metavar="SECONDS",
        help="how often to look whether the alias names another version (default: 5)",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="images or tiles that the network takes at once, if so many wait (default: 8 on a GPU, 1 on a CPU)",
    )
    parser.add_argument(
        "--require-signature",
        metavar="FILE",
        help="public keys, one of which must have signed a version (default: promote.require_signature)",
    )
    for limit in dataclasses.fields(Limits):
        parser.add_argument(
            f"--max-{limit.name.replace('_', '-')}",
            type=positive,
            default=limit.default,
            metavar="N",
            help=f"{limit.metadata['help']} (default: {limit.default})",
        )


def serve(arguments: Namespace) -> int:
    from retinanet.serving.server import run

    limits = Limits(**{field.name: getattr(arguments, f"max_{field.name}") for field in dataclasses.fields(Limits)})
    source = _model_source(arguments.model, arguments.require_signature)
    run(source, arguments.host, arguments.port, limits, arguments.follow, arguments.batch_size)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # A thread may still detect or open a version. The interpreter would wait for it, or end below it and abort.
    os._exit(0)


def _model_source(name: str | None, public_keys: str | None) -> "ModelSource":
    if name is not None and name.startswith("models:/"):
        from retinanet.tracking.served_versions import RegisteredModel

        return RegisteredModel(name, public_keys or trusted_keys())
    from retinanet.cli.inputs import model_path
    from retinanet.serving.models import ModelFile

    with model_path(name) as path:
        return ModelFile(path)
