"""Which annotations stand for which kind of value on the wire."""

from __future__ import annotations

import collections.abc
import os
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from uuid import UUID

SCALARS: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    bytes: "bytes",
    bytearray: "bytes",
    UUID: "uuid",
    Path: "path",
    PurePath: "path",
    os.PathLike: "path",
    datetime: "datetime",
    date: "date",
    time: "time",
    timedelta: "timedelta",
    Decimal: "decimal",
}

SEQUENCES: dict[type, str] = {
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
    collections.abc.Set: "set",
    collections.abc.MutableSet: "set",
}

LISTS: set[type] = {
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Collection,
    collections.abc.Iterable,
}
"""What is sent as a list."""

MAPPINGS: set[type] = {dict, collections.abc.Mapping, collections.abc.MutableMapping}

ITERATORS: set[object] = {
    collections.abc.Generator,
    collections.abc.AsyncGenerator,
    collections.abc.Iterator,
    collections.abc.AsyncIterator,
    collections.abc.Iterable,
    collections.abc.AsyncIterable,
}
"""What the annotation of a generator is one of; its first argument is the item."""
