"""`UserConfig`: which client configuration is used unless another one is named."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from .client import ClientConfigV1Alpha1
from .common import CONFIG_API_VERSION, CONFIG_PATH
from .dumper import dump_text
from .files import write_private
from .problems import ConfigurationNotFoundError, Problems
from .schema import dump, key, read
from .yaml import read_file


@dataclass(kw_only=True)
class UserConfigV1Alpha1Config:
    """The user's choices."""

    current_client: str | None = field(
        default=None, metadata=key("current-client", "current_client", always=True, help="Alias of a client.")
    )


@dataclass(kw_only=True)
class UserConfigV1Alpha1:
    """The configuration of a user."""

    USER_CONFIG_PATH: ClassVar[Path] = CONFIG_PATH / "config.yaml"
    """Its file."""

    apiVersion: Literal["jumpstarter.dev/v1alpha1"] = field(default=CONFIG_API_VERSION, metadata=key(always=True))
    kind: Literal["UserConfig"] = field(default="UserConfig", metadata=key(always=True))
    config: UserConfigV1Alpha1Config = field(default_factory=UserConfigV1Alpha1Config, metadata=key(always=True))

    @classmethod
    def load(cls) -> UserConfigV1Alpha1:
        """Read the file. ConfigurationNotFoundError where there is none, ConfigurationError where wrong."""
        document, problems = read_file(cls.USER_CONFIG_PATH), Problems()
        config = read(cls, document.data, document.place, problems)
        problems.raise_any()
        assert config is not None
        return config

    @classmethod
    def load_or_create(cls) -> UserConfigV1Alpha1:
        """Read the file, or write one that chooses nothing."""
        try:
            return cls.load()
        except ConfigurationNotFoundError:
            config = cls()
            cls.save(config)
            return config

    @classmethod
    def save(cls, config: UserConfigV1Alpha1, path: Path | None = None) -> Path:
        """Write it."""
        target = path or cls.USER_CONFIG_PATH
        write_private(target, dump_text(dump(config)))
        return target

    @classmethod
    def current_alias(cls) -> str | None:
        """Alias of the current client; None where there is none."""
        try:
            return cls.load().config.current_client
        except ConfigurationNotFoundError:
            return None

    @classmethod
    def current(cls) -> ClientConfigV1Alpha1 | None:
        """The current client; None where none is chosen, or its file is gone."""
        alias = cls.current_alias()
        return ClientConfigV1Alpha1.load(alias) if alias and ClientConfigV1Alpha1.exists(alias) else None

    def use_client(self, alias: str | None) -> Path:
        """Make a client the current one, or none; the file is written. Raises where there is no such client."""
        if alias is not None:
            ClientConfigV1Alpha1.ensure_exists(alias)
        self.config.current_client = alias
        return self.save(self)
