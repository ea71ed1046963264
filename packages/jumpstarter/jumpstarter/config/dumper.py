"""Plain data to YAML."""

from __future__ import annotations

from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

import yaml

from ..common.exceptions import ConfigurationError


def dump_text(data: dict[str, Any]) -> str:
    """YAML that reads as the same data. Raises ConfigurationError for values that YAML cannot hold."""
    try:
        return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    except yaml.YAMLError as e:
        raise ConfigurationError(f"a value that cannot be written as YAML: {e.args[-1]!r}") from e


class _Dumper(yaml.SafeDumper):
    """Writes paths, UUIDs and enums as configurations spell them, and what stands twice, twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # plain and in single quotes, the emitter writes line separators as they are, and they are read as blanks
    breaks = any(character in text for character in "\x85\u2028\u2029")
    return cast("Any", dumper).represent_scalar("tag:yaml.org,2002:str", text, style='"' if breaks else None)


def _represent_text(dumper: yaml.SafeDumper, value: object) -> yaml.Node:
    return dumper.represent_str(str(value))


def _represent_enum(dumper: yaml.SafeDumper, value: Enum) -> yaml.Node:
    return cast("Any", dumper).represent_data(value.value)


_Dumper.add_representer(str, _represent_str)
_Dumper.add_multi_representer(PurePath, _represent_text)
_Dumper.add_multi_representer(UUID, _represent_text)
_Dumper.add_multi_representer(Enum, _represent_enum)
