"""The commands of `retinanet`, a module for each group: functions of their arguments that return the exit code.

Each imports what it needs itself: torch and MLflow take seconds to import, and `predict` works without them.
"""
