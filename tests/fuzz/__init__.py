"""Arbitrary input for everything that reads what strangers write: one table of targets, driven in three ways.

`tests.fuzz.targets` is the table. ``test_fuzz.py`` runs it with hypothesis in `make test`; ``python -m tests.fuzz``
runs it for as long as it is told, guided by coverage. docs/fuzzing.md tells more.
"""
