"""Processes that have imported MLflow already, which takes seconds, and nothing else of the test."""

import multiprocessing
import os
from multiprocessing.context import ForkServerContext


def mlflow_forks(module: str) -> ForkServerContext:
    """A context of a fork server that imports MLflow and a module once. Its processes need take_environment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "mlflow.store.tracking.sqlalchemy_store", module])
    return context


def take_environment(environment: dict[str, str]) -> None:
    """Replace this process's environment: that of a fork server's start, which another test may have made."""
    os.environ.clear()
    os.environ.update(environment)
