"""Reading the small text files that an app is written in.

Knows the file system, and that such files are short and UTF-8. Must not know what they say. Every way in which a file
cannot be read becomes a ValueError with a sentence, but for one that is not there, which only the caller can judge.
"""

from pathlib import Path

BYTES_MAX = 1024 * 1024


def read_text(path: Path) -> str:
    """The file's text without a byte order mark. Raises FileNotFoundError, or ValueError with what is wrong."""
    try:
        with path.open("rb") as file:
            # Bounded, so that a device or a log that was named by mistake does not fill the memory.
            content = file.read(BYTES_MAX + 1)
    except FileNotFoundError:
        raise
    except IsADirectoryError as error:
        raise ValueError("is a folder; name a file") from error
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    if len(content) > BYTES_MAX:
        raise ValueError("is larger than 1 MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is not UTF-8 text: see line {line}; save it as UTF-8") from error
