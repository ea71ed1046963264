"""Images that are layers of OCI artifacts, as `oras push registry.lab/images/board:1 board.img.xz` makes them.

Facts: OCI distribution specification 1.1 (pulling manifests and blobs), OCI image specification 1.1 (manifest, index,
annotations), the token authentication of the distribution project.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs, urlencode, urlsplit

from anyio import EndOfStream
from jumpstarter.common.exceptions import JumpstarterException
from jumpstarter.streams.http import AnswerError, UrlRules, UrlStream, open_url
from jumpstarter.streams.threads import in_thread

from .origins import Credentials, Origins

MOST_JSON = 4 << 20
"""Bytes of a manifest or of the answer with a token."""

TITLE = "org.opencontainers.image.title"

_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_DOCKER = "docker.io"


class ArtifactError(JumpstarterException, OSError):
    """An artifact has no image that can be written."""


class Reference(NamedTuple):
    """What a URL such as oci://registry.lab:5000/images/board:1.2#board.img.xz names."""

    host: str
    name: str
    version: str
    """A digest where there is one, else the tag."""
    title: str
    platform: str

    @property
    def text(self) -> str:
        """For messages."""
        return f"oci://{self.host}/{self.name}{'@' if ':' in self.version else ':'}{self.version}"


def reference_of(url: str) -> Reference:
    """The parts of a URL; ValueError for one that is no reference."""
    parts = urlsplit(url)
    path, _, digest = parts.path.lstrip("/").partition("@")
    name, _, tag = path.partition(":")
    host = parts.netloc
    if host and "." not in host and ":" not in host and host != "localhost":
        host, name = _DOCKER, f"{host}/{name}"
    right = _NAME.fullmatch(name) and (not tag or _TAG.fullmatch(tag)) and (not digest or _DIGEST.fullmatch(digest))
    if not host or "@" in host or not right:
        raise ValueError(f"{url.partition('?')[0]}: an artifact is oci://HOST/NAME:TAG, or @sha256:DIGEST for the tag")
    platform = parse_qs(parts.query).get("platform", [""])[-1]
    return Reference(host, name, digest or tag or "latest", parts.fragment, platform)


class Blob:
    """A layer, which has to have the digest and the size that the manifest names."""

    def __init__(self, stream: UrlStream, where: str, digest: str, size: int) -> None:
        self._stream = stream
        self._where = where
        self._digest = digest
        self._hash = hashlib.new(digest.partition(":")[0])
        self._read = 0
        self.size: int | None = size

    async def receive(self) -> bytes:
        """The next bytes; OSError, at the end, where they are not the right ones."""
        try:
            data = await self._stream.receive()
        except EndOfStream:
            found = f"{self._hash.name}:{self._hash.hexdigest()}"
            if (found, self._read) != (self._digest, self.size):
                raise OSError(f"{self._where}: the layer has the digest {found}, not {self._digest}") from None
            raise
        self._read += len(data)
        await in_thread(self._hash.update, data)
        return data


@asynccontextmanager
async def open_artifact(url: str, origins: Origins) -> AsyncGenerator[Blob]:
    """Read the image in an artifact: its only layer, or the one whose title is the URL's fragment.

    Raises NotAllowedError for a registry that the rules do not allow, ValueError for a URL that names no artifact, and
    OSError for what cannot be read.
    """
    reference = reference_of(url)
    registry = Registry(reference, origins.urls, _credentials(reference, origins))
    layer = chosen(await registry.manifest(), reference)
    digest, size = str(layer.get("digest")), int(layer.get("size", -1))
    if not _DIGEST.fullmatch(digest) or size < 0:
        raise ArtifactError(f"{reference.text}: the layer has the digest {digest!r}, which is none")
    if origins.urls.max_bytes is not None and size > origins.urls.max_bytes:
        raise OSError(f"{reference.text}: the image has {size} bytes, more than the {origins.urls.max_bytes} allowed")
    async with registry.open(f"blobs/{digest}") as stream:
        yield Blob(stream, reference.text, digest, size)


def _credentials(reference: Reference, origins: Origins) -> Credentials | None:
    if (given := origins.credentials.get(reference.host)) is not None or not origins.urls.anywhere:
        return given
    from jumpstarter.common.oci import resolve_oci_credentials  # what the user has, who reads for himself

    found = resolve_oci_credentials(f"oci://{reference.host}/{reference.name}")
    if found.username is None or found.plain_password is None:
        return None
    return Credentials(username=found.username, password=found.plain_password)


def chosen(manifest: Mapping[str, Any], reference: Reference) -> Mapping[str, Any]:
    """The layer that is the image. Raises ArtifactError where none or several could be meant."""
    layers: list[Mapping[str, Any]] = list(manifest.get("layers") or [])
    titles = {_title(layer): layer for layer in layers if _title(layer)}
    if reference.title:
        if reference.title not in titles:
            raise ArtifactError(
                f"{reference.text} has no layer with the title {reference.title}",
                f"its titles are {', '.join(sorted(titles)) or '(none)'}",
            )
        layer = titles[reference.title]
    elif len(layers) == 1:
        [layer] = layers
    else:
        raise ArtifactError(
            f"{reference.text} has {len(layers)} layers",
            f"name one by its title, as #TITLE at the end: {', '.join(sorted(titles)) or '(none has a title)'}",
        )
    is_archive = _notes(layer).get("io.deis.oras.content.unpack") == "true"
    if is_archive or (not _title(layer) and "tar" in str(layer.get("mediaType"))):
        raise ArtifactError(
            f"{reference.text}: the layer is an archive of files, not an image",
            "push the image file itself as an artifact, by oras push",
        )
    return layer


def _notes(descriptor: Mapping[str, Any]) -> Mapping[str, str]:
    return descriptor.get("annotations") or {}


def _title(layer: Mapping[str, Any]) -> str:
    return _notes(layer).get(TITLE, "")


@dataclass
class Registry:
    """The part of a registry where one artifact is."""

    reference: Reference
    rules: UrlRules
    credentials: Credentials | None
    _authorization: str | None = None

    async def manifest(self) -> Mapping[str, Any]:
        """The manifest of the artifact; of an index, that for the platform."""
        found = await self._manifest(self.reference.version)
        if "manifests" not in found:
            return found
        return await self._manifest(str(self._entry(list(found["manifests"])).get("digest")))

    async def _manifest(self, version: str) -> Mapping[str, Any]:
        body = await self._body(f"manifests/{version}", {"Accept": ", ".join((*_MANIFESTS, *_INDEXES))})
        algorithm, colon, digest = version.partition(":")
        if colon and (not _DIGEST.fullmatch(version) or hashlib.new(algorithm, body).hexdigest() != digest):
            raise OSError(f"{self.reference.text}: the manifest has another digest than {version}")
        return _mapping(body, self.reference.text)

    def _entry(self, entries: list[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The manifest of an index that is meant."""
        named = {_platform(entry): entry for entry in entries}
        if self.reference.platform in named:
            return named[self.reference.platform]
        if len(entries) == 1 and not self.reference.platform:
            return entries[0]
        raise ArtifactError(
            f"{self.reference.text} has {len(entries)} manifests, none for {self.reference.platform or 'no platform'}",
            f"name one as ?platform=OS/ARCHITECTURE: {', '.join(sorted(filter(None, named))) or '(none)'}",
        )

    async def _body(self, path: str, headers: Mapping[str, str]) -> bytes:
        async with self.open(path, headers) as stream:
            return await _all(stream, self.reference.text)

    @asynccontextmanager
    async def open(self, path: str, headers: Mapping[str, str] | None = None) -> AsyncGenerator[UrlStream]:
        """Read something of the artifact, with the token that the registry asks for."""
        url = f"{self._base()}/v2/{self._name()}/{path}"
        async with AsyncExitStack() as stack:
            yield await self._answer(stack, url, dict(headers or {}))

    async def _answer(self, stack: AsyncExitStack, url: str, headers: dict[str, str]) -> UrlStream:
        if self._authorization is None:
            try:
                return await stack.enter_async_context(open_url((url, headers), self.rules))
            except AnswerError as e:
                if e.status != 401:
                    raise
                self._authorization = await self._authorized(e)
        try:
            request = url, {**headers, "Authorization": self._authorization}
            return await stack.enter_async_context(open_url(request, self.rules))
        except AnswerError as e:
            if e.status not in (401, 403):
                raise
            raise self._refused() from e

    def _refused(self) -> ArtifactError:
        who = self.credentials.username if self.credentials is not None else "without a name"
        return ArtifactError(
            f"{self.reference.text}: the registry refuses {who}",
            f"give user and password for {self.reference.host}: for the exporter in its registry_credentials, "
            "for the client by podman login or docker login",
        )

    def _base(self) -> str:
        host = "registry-1.docker.io" if self.reference.host == _DOCKER else self.reference.host
        plain = f"http://{host}"
        if self.rules.anywhere:
            is_plain = urlsplit(plain).hostname in ("localhost", "127.0.0.1", "::1")
        else:
            is_plain = self.rules.lists(urlsplit(f"{plain}/v2/{self._name()}/"))
        return plain if is_plain else f"https://{host}"

    def _name(self) -> str:
        is_official = self.reference.host == _DOCKER and "/" not in self.reference.name
        return f"library/{self.reference.name}" if is_official else self.reference.name

    async def _authorized(self, asked: AnswerError) -> str:
        """What the registry wants to be told: by its challenge, a token, or user and password."""
        scheme, _, rest = next(
            (value for name, value in asked.headers.items() if name.lower() == "www-authenticate"), ""
        ).partition(" ")
        fields = {str(name): str(value) for name, value in re.findall(r'(\w+)="([^"]*)"', rest)}
        basic = _basic(self.credentials)
        if scheme.lower() == "basic" and basic:
            return basic
        if scheme.lower() != "bearer" or "realm" not in fields:
            raise self._refused()
        query = {name: fields[name] for name in ("service", "scope") if name in fields}
        url = f"{fields['realm']}{'&' if '?' in fields['realm'] else '?'}{urlencode(query)}"
        try:
            async with open_url((url, {"Authorization": basic} if basic else {}), self.rules) as stream:
                answer = _mapping(await _all(stream, self.reference.text), self.reference.text)
        except AnswerError as e:
            raise self._refused() from e
        return f"Bearer {answer.get('token') or answer.get('access_token')}"


def _basic(credentials: Credentials | None) -> str | None:
    if credentials is None:
        return None
    return f"Basic {b64encode(f'{credentials.username}:{credentials.password}'.encode()).decode()}"


def _platform(entry: Mapping[str, Any]) -> str:
    platform: Mapping[str, str] = entry.get("platform") or {}
    return "/".join(platform[key] for key in ("os", "architecture", "variant") if platform.get(key))


def _mapping(body: bytes, where: str) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise OSError(f"{where}: the registry answers with what is no manifest")
    return cast("dict[str, Any]", found)


async def _all(stream: UrlStream, where: str) -> bytes:
    parts: list[bytes] = []
    while sum(map(len, parts)) <= MOST_JSON:
        try:
            parts.append(await stream.receive())
        except EndOfStream:
            return b"".join(parts)
    raise OSError(f"{where}: the registry answers with more than {MOST_JSON} bytes where a manifest should be")
