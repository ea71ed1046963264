"""Who a registry of container images is asked by."""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, model_validator

DEFAULT_REGISTRY = "docker.io"


class OciCredentials(BaseModel):
    """A user name and its password, or neither."""

    username: str | None = None
    password: SecretStr | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> OciCredentials:
        if bool(self.username) != bool(self.password):
            raise ValueError("OCI authentication requires both a user name and a password; give both, or neither")
        return self

    @property
    def is_authenticated(self) -> bool:
        return bool(self.username)

    @property
    def plain_password(self) -> str | None:
        return self.password.get_secret_value() if self.password is not None else None


def parse_oci_registry(url: str) -> str:
    """The registry of an image: `oci://quay.io/org/image:tag` → `quay.io`; without one, Docker's."""
    host = urlsplit(url if "://" in url else f"oci://{url}").netloc.rpartition("@")[2]
    is_host = "." in host or ":" in host or host == "localhost"
    return host if is_host else DEFAULT_REGISTRY


def read_auth_file_credentials(registry: str) -> OciCredentials:
    """What podman's or docker's file of credentials has for a registry; none where it has nothing."""
    for file in _auth_files():
        try:
            auths: Any = json.loads(file.read_text()).get("auths", {})
        except (OSError, ValueError, AttributeError):
            continue
        for key in (registry, f"https://{registry}", f"https://{registry}/v1/", f"https://index.{registry}/v1/"):
            try:
                username, _, password = base64.b64decode(auths[key]["auth"]).decode().partition(":")
            except (KeyError, TypeError, binascii.Error, UnicodeDecodeError):
                continue
            if username and password:
                return OciCredentials(username=username, password=SecretStr(password))
    return OciCredentials()


def _auth_files() -> list[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        return [Path(named)]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    docker = os.environ.get("DOCKER_CONFIG")
    return [
        *([Path(runtime) / "containers/auth.json"] if runtime else []),
        Path.home() / ".config/containers/auth.json",
        (Path(docker) if docker else Path.home() / ".docker") / "config.json",
    ]


def resolve_oci_credentials(url: str, username: str | None = None, password: str | None = None) -> OciCredentials:
    """The credentials for an image: those given, else OCI_USERNAME and OCI_PASSWORD, else the file's, else none."""
    if username or password:
        return _credentials(username, password)
    username, password = os.environ.get("OCI_USERNAME"), os.environ.get("OCI_PASSWORD")
    if username or password:
        return _credentials(username, password)
    return read_auth_file_credentials(parse_oci_registry(url))


def _credentials(username: str | None, password: str | None) -> OciCredentials:
    return OciCredentials(username=username, password=SecretStr(password) if password else None)
