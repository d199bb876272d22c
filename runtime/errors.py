"""Every error that the runtime raises on purpose.

A message names the thing, says what was expected, what came, and the cure. Catch `BasicError` to
catch them all; nothing else should leave the runtime on account of a bad file, image or bundle.
"""


class BasicError(Exception):
    """Base of all errors of this project."""


class ArgumentError(BasicError, ValueError):
    """An argument is of the wrong type or out of its range, or two exclude each other. A ValueError too."""


class BundleError(BasicError):
    """A bundle is missing, damaged, of another format version, or lacks what was asked of it."""


class BitstreamError(BasicError):
    """A bitstream is damaged, truncated, hostile, or needs another bundle."""


class EngineError(BasicError):
    """An engine is not installed, cannot open a part, or failed while running it."""


class BudgetError(BasicError):
    """No level is quick enough for a time budget, or there is no latency profile to tell by."""


class ImageError(BasicError):
    """An image cannot be read, has an unsupported type, or exceeds a limit."""


class ImageWarning(UserWarning):
    """Something of an image is not kept: depth beyond 8 bits, later frames, a profile that no longer fits."""


def reason(error: Exception) -> str:
    """What an error of Python says, in words for a message: no class names, a missing key by its name."""
    if isinstance(error, KeyError) and error.args:
        return f"{error.args[0]!r} is missing"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
