"""Errors that users meet. Each message is one line: the file, the record, what is wrong and the remedy."""


class GeniesError(Exception):
    """Base of every expected failure; the command line prints its message and exits with ``status``."""

    status = 2


class ConfigError(GeniesError):
    """The configuration names something unknown or contradictory."""


class DataError(GeniesError):
    """A distribution, a shift list or an archive breaks its format."""


class ModelError(GeniesError):
    """A model cannot be found, read or used for what was asked."""


class StoreError(GeniesError):
    """A cached artefact is missing, incomplete or damaged."""


class DiskError(GeniesError):
    """The disk has no room for what is to be written."""

    status = 3
