"""What containers say, made fit to be told: it goes to logs, reports and terminals, and may be anything."""


def one_line(text: str, most: int) -> str:
    """The last `most` characters of a text, on one line and without what cannot be printed."""
    line = " ".join(printable(text).split())
    return line if len(line) <= most else f"…{line[1 - most :]}"


def printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
