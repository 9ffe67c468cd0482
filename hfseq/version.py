"""The version of this package, and the releases of transformers that it was tested with."""

import warnings

from packaging.version import Version

__version__ = "0.1.0"

OLDEST_TRANSFORMERS = "5.20"  # the lower bound that `pyproject.toml` declares
NEWEST_TESTED_TRANSFORMERS = "5.24"  # the newest minor release that the tests ran with


def check_transformers() -> None:
    """Refuse a transformers older than the lower bound, and warn of a minor release newer than any tested.

    The warning is Python's own, not a log record: any level of logging shows it, and `-W` silences it or makes it an
    error.

    Raises:
        ImportError: If transformers is too old to import the models.
    """
    import transformers  # here: the command's help needs the version alone

    found = Version(transformers.__version__)
    if found.release < Version(OLDEST_TRANSFORMERS).release:
        raise ImportError(
            f"hfseq {__version__} needs transformers {OLDEST_TRANSFORMERS} or newer, and {found} is installed: "
            f'pip install --upgrade "transformers>={OLDEST_TRANSFORMERS},<6"'
        )
    if (found.major, found.minor) > Version(NEWEST_TESTED_TRANSFORMERS).release:
        warnings.warn(
            f"transformers {found} is newer than {NEWEST_TESTED_TRANSFORMERS}, the newest that hfseq {__version__} "
            f"was tested with. If something is wrong, install a newer hfseq, or: "
            f'pip install "transformers=={NEWEST_TESTED_TRANSFORMERS}.*"',
            stacklevel=3,  # the line that imports hfseq, past the package's own
        )
