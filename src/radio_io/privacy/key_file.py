"""The key of a dataset before its first build.

Comes in: the dataset folder. Goes out: the key file in the private folder beside it. Refuses to replace a key, and to
make a new one for a dataset that was built with a key that is gone.
"""

from pathlib import Path

from radio_io import atomic
from radio_io.errors import KeyFileError
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer


def make_dataset_key(root: Path) -> Pseudonymizer:
    """A new key for a dataset that does not exist yet.

    Raises:
        KeyFileError: There is a key already, or a dataset that needs its old one.
        StorageError: The private folder cannot be made.
    """
    layout = DatasetLayout(root)
    if layout.dataset_json.exists() and not layout.key_file.exists():
        raise KeyFileError(
            f"{layout.root} was built with a key that is not at {layout.key_file}; restore it from a backup, with a "
            "new one nothing would match"
        )
    atomic.make_folder(layout.private, mode=0o700)
    layout.private.chmod(0o700)
    return Pseudonymizer.create_file(layout.key_file, layout.root)
