"""The codecs there are, by name and by member extension.

Comes in: a name or extension. Goes out: the codec. Refuses: unknown ones, naming those that exist.
"""

from radio_io.codecs.fast import FAST
from radio_io.codecs.htj2k import HTJ2K
from radio_io.codecs.interface import Codec
from radio_io.errors import ConfigError, DatasetError

_CODECS: tuple[Codec, ...] = (HTJ2K, FAST)
CODEC_NAMES = tuple(codec.name for codec in _CODECS)


def get_codec(name: str) -> Codec:
    """The codec called `name`.

    Raises:
        ConfigError: There is none of that name.

    Example:
        >>> get_codec("htj2k").extension
        'jph'
    """
    for codec in _CODECS:
        if codec.name == name:
            return codec
    raise ConfigError(f"unknown codec {name!r}; expected one of {', '.join(CODEC_NAMES)}")


def codec_of_extension(extension: str) -> Codec:
    """The codec whose members end in `extension` (without a dot).

    Raises:
        DatasetError: No codec writes such members.
    """
    for codec in _CODECS:
        if codec.extension == extension:
            return codec
    known = ", ".join(codec.extension for codec in _CODECS)
    raise DatasetError(
        f"unknown image member .{extension}; expected one of {known}; update radio or rebuild the dataset"
    )
