"""What a label in a query means: `KEY=VALUE`, or `KEY` for any value. The same at every door."""

from collections.abc import Mapping


def has_label(labels: Mapping[str, str], text: str) -> bool:
    key, separator, value = text.partition("=")
    return key in labels and (not separator or labels[key] == value)
