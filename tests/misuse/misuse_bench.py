"""Exporters to misuse, and what is said when that happens, with all that changes from run to run taken out."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.tree import Policy

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient

    from tests.conftest import Exporter, Lab

SECRET = "correct horse"

HEAD = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {{namespace: default, name: {name}}}
export:
"""

DEVICES = """\
  power:
    type: jumpstarter_driver_power.driver.MockPower
  gadget:
    type: misuse_devices.Gadget
  teapot:
    type: misuse_devices.NoClient
"""

NORMAL: tuple[tuple[str, str], ...] = (
    (r"\bpid \d+|\bprocess \d+", "pid PID"),
    (r"\b\d\d:\d\d(:\d\d)?\b", "TIME"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"\bport \d{4,5}\b", "port PORT"),
    (r"[0-9a-f]{8}-[0-9a-f-]{27}", "UUID"),
    (r" at 0x[0-9a-f]+", ""),
)


class Said:
    """How one misuse ended."""

    def __init__(self, what: str, how: str, lines: str) -> None:
        self.what, self.how, self.lines = what, how, lines

    def __str__(self) -> str:
        return f"{self.what}\n{self.how}: {self.lines}"

    __repr__ = __str__


class Bench:
    """What the cases use. Things are made when a case first needs them, and end with the tests."""

    def __init__(self, lab: Lab, modules: Path) -> None:
        self.lab = lab
        self.lab.environment |= {"PYTHONPATH": str(modules), "TMPDIR": str(lab.directory), "USER": "ann"}
        self.lab.environment["JMP_LOCK_DIR"] = str(lab.directory)
        self._stack = ExitStack()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    # what there is to misuse

    @cached_property
    def config(self) -> Path:
        """A configuration without fault."""
        return self.lab.write("bench", HEAD + DEVICES)

    def write(self, name: str, entries: str) -> Path:
        """A configuration with these entries."""
        return self.lab.write(name, HEAD + entries)

    @cached_property
    def exporter(self) -> Exporter:
        """An exporter on a unix socket, which no case ends."""
        return self._stack.enter_context(self.lab.exporter(config=self.config))

    @cached_property
    def clear_text(self) -> str:
        """Address of an exporter on a TCP port, in clear text."""
        options = ("--tls-grpc-listener", "0", "--tls-grpc-insecure")
        return self._stack.enter_context(self.lab.exporter(*options, config=self.config)).address

    @cached_property
    def tls(self) -> str:
        """Address of an exporter with TLS and a passphrase."""
        cert, key = self.certificate
        options = ("--tls-grpc-listener", "0", "--tls-cert", cert, "--tls-key", key, "--passphrase-file", self.secret)
        return self._stack.enter_context(self.lab.exporter(*options, config=self.config)).address

    @cached_property
    def other_name(self) -> str:
        """Address of an exporter whose certificate is for another name."""
        cert, key = make_certificate(self.directory("other"), "lab9.example")
        options = ("--tls-grpc-listener", "0", "--tls-cert", cert, "--tls-key", key, "--passphrase-file", self.secret)
        return self._stack.enter_context(self.lab.exporter(*options, config=self.config)).address

    @cached_property
    def certificate(self) -> tuple[Path, Path]:
        """Certificate and key of the exporter with TLS."""
        return make_certificate(self.directory("tls"), "localhost", "127.0.0.1")

    @cached_property
    def secret(self) -> Path:
        """File with the passphrase."""
        return self.file("secret", SECRET)

    def directory(self, name: str) -> Path:
        """A new directory."""
        path = self.lab.directory / name
        path.mkdir()
        return path

    def file(self, name: str, text: str, mode: int = 0o600) -> Path:
        """A file with a text."""
        path = self.lab.directory / name
        path.write_text(text)
        path.chmod(mode)
        return path

    @contextmanager
    def another(self, name: str, entries: str = DEVICES, **environment: str) -> Generator[Exporter]:
        """An exporter of this case's own."""
        with self.lab.exporter(config=self.write(name, entries), **environment) as exporter:
            yield exporter

    # what is done with it

    def run(self, *command: str | Path, before: tuple[str, ...] = (), **environment: str) -> Said:
        """Run a command to its end; `before` is not shown."""
        argv = [str(part) for part in command]
        env = self.lab.environment | environment
        done = subprocess.run(
            [*before, *argv],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return self._said(argv, environment, done.returncode, done.stderr)

    def j(self, *arguments: str, **environment: str) -> Said:
        """Run `j` with the exporter that no case ends."""
        return self.run("j", *arguments, before=(), **self.attached(self.exporter.address), **environment)

    def attached(self, address: str) -> dict[str, str]:
        """The variables that `jmp shell` would set."""
        return {"JUMPSTARTER_HOST": address, "JMP_DRIVERS_ALLOW": "UNSAFE", "_JMP_SUPPRESS_DRIVER_WARNINGS": "1"}

    @contextmanager
    def held(self, name: str) -> Generator[Exporter]:
        """An exporter of this case's own, whose session a `jmp shell` has."""
        there = self.lab.directory / f"{name}.held"
        with self.another(name) as exporter:
            command = ("jmp", "shell", "--socket", exporter.address, "--", "sh", "-c", f"touch {there}; sleep 30")
            process = self.lab.start(*command)
            try:
                wait_for(there.exists)
                yield exporter
            finally:
                process.terminate()
                process.communicate(timeout=60)

    def interrupted(self, name: str, end: Callable[[Exporter], object]) -> Said:
        """Run `j gadget wait` with an exporter that is ended meanwhile."""
        record = self.lab.directory / f"{name}.calls"
        with self.another(name, MISUSE_CALLS=str(record)) as exporter:
            command = ["j", "gadget", "wait"]
            process = self.lab.start(*command, **self.attached(exporter.address))
            try:
                wait_for(record.exists)
                end(exporter)
                _, said = process.communicate(timeout=60)
            finally:
                process.kill()
                process.wait()
        return self._said(command, {}, process.returncode, said)

    def python(self, what: str, use: Callable[[DriverClient], object], address: str | None = None) -> Said:
        """Use the client of the exporter, from Python."""

        def connected() -> object:
            with connect(Endpoint(address or self.exporter.address), Policy(unsafe=True)) as client:
                return use(client)

        with suppress_warnings():
            return self.raised(what, connected)

    def raised(self, what: str, use: Callable[[], object]) -> Said:
        """Do something in Python."""
        try:
            result = use()
        except BaseException as e:  # noqa: BLE001 whatever it is, it is what the user gets
            return Said(f">>> {self.normal(what)}", type(e).__name__, self.normal(str(e)))
        return Said(f">>> {self.normal(what)}", "no error", repr(result))

    def _said(self, argv: list[str], environment: dict[str, str], status: int, stderr: str) -> Said:
        shown = {k: v for k, v in environment.items() if not k.startswith("_") and k != "JMP_DRIVERS_ALLOW"}
        variables = [f"{key}={value}" for key, value in shown.items() if value != self._address()]
        return Said(self.normal(" ".join(["$", *variables, *argv])), str(status), self.normal(stderr.rstrip("\n")))

    def _address(self) -> str:
        return self.exporter.address if "exporter" in self.__dict__ else ""

    def normal(self, text: str) -> str:
        """The text without what changes from run to run."""
        text = re.sub(rf"\w+@{re.escape(socket.gethostname())}", "ann@lab", text)
        text = text.replace(str(self.lab.directory), "DIR").replace(os.path.realpath(self.lab.directory), "DIR")
        for pattern, word in NORMAL:
            text = re.sub(pattern, word, text)
        return text


@contextmanager
def suppress_warnings() -> Generator[None]:
    """No word of client classes that are not there: a case that needs them says so itself."""
    before = os.environ.get("_JMP_SUPPRESS_DRIVER_WARNINGS")
    os.environ["_JMP_SUPPRESS_DRIVER_WARNINGS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["_JMP_SUPPRESS_DRIVER_WARNINGS"]


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def make_certificate(directory: Path, name: str, address: str | None = None) -> tuple[Path, Path]:
    """A self-signed certificate for a name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if address is not None:
        names.append(x509.IPAddress(ipaddress.ip_address(address)))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    unencrypted = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted))
    return cert_file, key_file
