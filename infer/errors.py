"""The errors a user meets. Each message is one line that names the file or value and what was expected."""


class HueglassError(Exception):
    """The work failed: a broken file, a full disk, a model that does not fit. Exit status 1."""


class UsageError(HueglassError):
    """Wrong use: a missing file, an unknown look, a value out of range. Exit status 2."""
