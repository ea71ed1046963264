"""What the tests that cross packages share."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def uv() -> str:
    """The path of uv: the one that runs us, the one on PATH, or the one that the scripts installed."""
    found = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".tools/bin"))
    if found is None:
        pytest.fail("uv is not installed; scripts/test brings it along")
    return found


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory, root: Path, uv: str) -> Path:
    """A folder with the wheel of every package. Tests that use it are in the group `wheels`, to build them once."""
    folder = tmp_path_factory.mktemp("wheels")
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    command = [uv, "build", "--quiet", "--all-packages", "--wheel", "--out-dir", folder]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return folder


Certify = Callable[[Path], tuple[Path, Path]]


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for the loopback address, and its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


@pytest.fixture(scope="session")
def certify() -> Certify:
    """Make a self-signed certificate and its key in a directory."""
    return make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory, certify: Certify) -> tuple[Path, Path]:
    """A self-signed certificate for the loopback address, and its key."""
    return certify(tmp_path_factory.mktemp("tls"))


CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: {name}
export:
  power:
    type: jumpstarter_driver_power.driver.MockPower
    description: Supply of the board
  lab:
    children:
      echo:
        type: jumpstarter_driver_network.driver.EchoNetwork
"""


class Exporter:
    """A running `jmp run`, whose stderr is collected."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.address = ""
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if match := re.search(r"is ready on (\S+);", line):
                self.address = match[1]
                self._ready.set()
        self._ready.set()

    def wait_ready(self) -> None:
        assert self._ready.wait(60), self.lines
        assert self.address, self.lines

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Send a signal and wait; returns the exit status."""
        self.process.send_signal(signum)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(60)
        self._reader.join(60)
        return status


class Lab:
    """The commands as a user has them, with a runtime and a configuration directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = self.write("demo")
        (directory / "home").mkdir()
        ours = ("JMP_", "_JMP", "JUMPSTARTER_", "GRPC_", "XDG_", "SHELL")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        self.environment |= {
            "HOME": str(directory / "home"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": str(directory),
        }

    def write(self, name: str, text: str = CONFIG) -> Path:
        """A configuration file, by default of an exporter of that name."""
        path = self.directory / f"{name}.yaml"
        path.write_text(text.format(name=name))
        return path

    @property
    def runtime(self) -> Path:
        """Where the exporters have their sockets."""
        return self.directory / "jumpstarter"

    def run(self, *command: str | Path, input: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        argv = [str(part) for part in command]
        env = self.environment | environment
        return subprocess.run(argv, env=env, input=input, capture_output=True, text=True, timeout=60, check=False)

    def start(self, *command: str | Path, **environment: str) -> subprocess.Popen[str]:
        """Start a command."""
        argv = [str(part) for part in command]
        env = self.environment | environment
        return subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    @contextmanager
    def exporter(self, *options: str | Path, config: Path | None = None, **environment: str) -> Generator[Exporter]:
        """`jmp run`, ready for clients."""
        with self.started(*options, config=config, **environment) as exporter:
            exporter.wait_ready()
            yield exporter

    @contextmanager
    def started(self, *options: str | Path, config: Path | None = None, **environment: str) -> Generator[Exporter]:
        """`jmp run`."""
        process = self.start("jmp", "run", "--exporter-config", config or self.config, *options, **environment)
        exporter = Exporter(process)
        try:
            yield exporter
        finally:
            process.kill()
            exporter.wait()
            assert process.stderr is not None
            process.stderr.close()


@pytest.fixture(scope="session")
def disk_faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes disks fail, or slow."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (cc) for the faults of disks")
    library = tmp_path_factory.mktemp("faults") / "diskfaults.so"
    source = Path(__file__).parent / "faults/diskfaults.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The commands, and a configuration to use them with."""
    with tempfile.TemporaryDirectory(prefix="jmp") as directory:  # short: the path of a socket has to fit
        yield Lab(Path(directory))


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Lab]:
    """The same, for tests that change nothing in it."""
    with tempfile.TemporaryDirectory(prefix="jmp") as directory:
        yield Lab(Path(directory))
