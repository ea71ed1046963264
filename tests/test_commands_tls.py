"""Exporters on TCP: certificates, passphrases, and who is let in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from jumpstarter.client import DirectLease
from jumpstarter.common.exceptions import ExporterUnreachableError
from jumpstarter.config.tls import TLSConfigV1Alpha1
from jumpstarter.streams.portal import shared_portal

if TYPE_CHECKING:
    from conftest import Certify, Exporter, Lab

SECRET = "correct horse"


@pytest.fixture
def secret(lab: Lab) -> Path:
    """A file with the passphrase."""
    path = lab.directory / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


def tls(certificate: tuple[Path, Path]) -> tuple[str | Path, ...]:
    return ("--tls-grpc-listener", "0", "--tls-cert", certificate[0], "--tls-key", certificate[1])


def shell(lab: Lab, exporter: Exporter, *options: str | Path, **environment: str):
    """`j power on` in a `jmp shell` that is attached to an exporter's port."""
    command = ("jmp", "shell", "--tls-grpc", exporter.address, *options, "--", "j", "power", "on")
    return lab.run(*command, **environment)


def test_tls_and_a_passphrase_let_the_right_client_in(lab: Lab, certificate: tuple[Path, Path], secret: Path):
    with lab.exporter(*tls(certificate), "--passphrase-file", secret) as exporter:
        assert exporter.lines == [
            f"exporter demo is ready on {exporter.address}; connect with: jmp shell --tls-grpc {exporter.address}"
        ]
        right = shell(lab, exporter, "--tls-ca", certificate[0], "--passphrase-file", secret)
        assert right.returncode == 0, right.stderr
        from_environment = shell(lab, exporter, "--tls-ca", certificate[0], JMP_GRPC_PASSPHRASE=SECRET)
        assert from_environment.returncode == 0, from_environment.stderr
        host = {"JUMPSTARTER_HOST": exporter.address, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificate[0])}
        assert lab.run("j", "power", "on", JMP_GRPC_PASSPHRASE=SECRET, **host).returncode == 0
        refused = lab.run("j", "power", "on", **host)
        assert refused.returncode == 77
        assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(("given", "said"), [({}, "is missing"), ({"JMP_GRPC_PASSPHRASE": "wrong"}, "is wrong")])
def test_without_the_passphrase_nobody_gets_in(
    lab: Lab, certificate: tuple[Path, Path], secret: Path, given: dict[str, str], said: str
):
    with lab.exporter(*tls(certificate), "--passphrase-file", secret) as exporter:
        done = shell(lab, exporter, "--tls-ca", certificate[0], **given)
        assert done.returncode == 77
        assert f"passphrase {said}" in done.stderr
        assert done.stderr.count("\n") == 1


def test_every_method_asks_for_the_passphrase(lab: Lab, secret: Path):
    listener = ("--tls-grpc-listener", "0", "--tls-grpc-insecure", "--passphrase-file", secret)
    channel: Any
    service = "/jumpstarter.v1.ExporterService"
    with lab.exporter(*listener) as exporter, grpc.insecure_channel(exporter.address) as channel:
        calls = [
            channel.unary_unary(f"{service}/GetReport"),
            channel.unary_unary(f"{service}/DriverCall"),
            channel.unary_unary(f"{service}/NoSuchMethod"),
            channel.unary_unary("/no.such.Service/Method"),
            channel.unary_unary(f"{service}/GetStatus"),
            channel.unary_unary(f"{service}/EndSession"),
        ]
        streams = [channel.unary_stream(f"{service}/{name}") for name in ("LogStream", "StreamingDriverCall")]
        pipe = channel.stream_stream("/jumpstarter.v1.RouterService/Stream")
        attempts = [
            (),
            (("x-jumpstarter-passphrase", "wrong"),),
            (("x-jumpstarter-passphrase", SECRET), ("x-jumpstarter-passphrase", SECRET)),
        ]
        for metadata in attempts:
            for call in calls:
                with pytest.raises(grpc.RpcError) as refused:
                    call(b"", metadata=metadata, timeout=60)
                assert code(refused) is grpc.StatusCode.UNAUTHENTICATED
            for items in [*(stream(b"", metadata=metadata, timeout=60) for stream in streams)]:
                with pytest.raises(grpc.RpcError) as refused:
                    next(items)
                assert code(refused) is grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(grpc.RpcError) as refused:
                next(pipe(iter([b""]), metadata=metadata, timeout=60))
            assert code(refused) is grpc.StatusCode.UNAUTHENTICATED
        right = (("x-jumpstarter-passphrase", SECRET),)
        assert calls[0](b"", metadata=right, timeout=60)
        with pytest.raises(grpc.RpcError) as refused:
            calls[2](b"", metadata=right, timeout=60)
        assert code(refused) is grpc.StatusCode.UNIMPLEMENTED


def code(refused: pytest.ExceptionInfo[grpc.RpcError]) -> grpc.StatusCode:
    return refused.value.code()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]


def test_a_stranger_with_another_certificate_is_not_believed(
    lab: Lab, certificate: tuple[Path, Path], certify: Certify, tmp_path: Path
):
    with lab.exporter(*tls(certify(tmp_path))) as exporter:
        done = shell(lab, exporter, "--tls-ca", certificate[0])
        assert done.returncode == 69
        assert f"no exporter answers at {exporter.address}: its certificate is not trusted" in done.stderr
        assert done.stderr.count("\n") == 1


def test_clear_text_is_not_spoken_with_tls(lab: Lab, certificate: tuple[Path, Path]):
    with lab.exporter(*tls(certificate)) as exporter:
        done = shell(lab, exporter, "--tls-grpc-insecure")
        assert done.returncode == 69
        assert done.stderr.count("\n") == 1


def test_serving_without_a_passphrase_is_warned_of(lab: Lab, certificate: tuple[Path, Path]):
    with lab.exporter(*tls(certificate)) as exporter:
        assert exporter.lines[0].startswith("jmp: warning: no passphrase")


def test_a_passphrase_in_the_arguments_is_warned_of(lab: Lab, certificate: tuple[Path, Path]):
    with lab.exporter(*tls(certificate), "--passphrase", SECRET) as exporter:
        assert "list of processes" in exporter.lines[0]
        assert not any(SECRET in line for line in exporter.lines)
        done = shell(lab, exporter, "--tls-ca", certificate[0], "--passphrase", SECRET)
        assert done.returncode == 0
        assert "list of processes" in done.stderr


def test_the_processes_of_drivers_do_not_see_the_passphrase(lab: Lab, certificate: tuple[Path, Path]):
    lab.directory.joinpath("curious.py").write_text(
        "import subprocess\nfrom dataclasses import dataclass\n"
        "from jumpstarter.driver import export\nfrom jumpstarter_driver_power.driver import MockPower\n"
        "@dataclass(kw_only=True)\nclass Curious(MockPower):\n"
        "    @export\n    def on(self) -> None: subprocess.run('env > env.txt', shell=True, cwd=__file__[:-10])\n"
    )
    text = lab.config.read_text().replace("jumpstarter_driver_power.driver.MockPower", "curious.Curious")
    environment = {"PYTHONPATH": str(lab.directory), "JMP_GRPC_PASSPHRASE": SECRET}
    with lab.exporter(*tls(certificate), config=lab.write("curious", text), **environment) as exporter:
        done = shell(lab, exporter, "--tls-ca", certificate[0], **environment)
        assert done.returncode == 0, done.stderr
    seen = lab.directory.joinpath("env.txt").read_text()
    assert "HOME" in seen
    assert SECRET not in seen


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("", 0o600, "is empty"),
        ("two\nlines\n", 0o600, "cannot be sent"),
        ("schlüssel\n", 0o600, "cannot be sent"),
        (SECRET, 0o622, "can be changed by others"),
        (None, 0, "no such file"),
    ],
)
def test_a_bad_passphrase_file_is_named(lab: Lab, content: str | None, mode: int, said: str):
    file = lab.directory / "secret"
    if content is not None:
        file.write_text(content, encoding="utf-8")
        file.chmod(mode)
    listener = ("--tls-grpc-listener", "0", "--tls-grpc-insecure", "--passphrase-file", file)
    done = lab.run("jmp", "run", "--exporter-config", lab.config, *listener)
    assert done.returncode == 65
    assert str(file) in done.stderr
    assert said in done.stderr


def test_bad_certificates_are_named(lab: Lab, certificate: tuple[Path, Path], certify: Certify, tmp_path: Path):
    cert, key = certificate
    _, other_key = certify(tmp_path)
    text = tmp_path / "text"
    text.write_text("this is no certificate")
    missing = tmp_path / "missing"
    cases = [(cert, other_key, "does not belong to"), (text, key, str(text)), (cert, text, str(text))]
    cases += [(missing, key, str(missing)), (cert, missing, str(missing)), (cert, tmp_path, str(tmp_path))]
    for cert_file, key_file, said in cases:
        done = lab.run("jmp", "run", "--exporter-config", lab.config, *tls((cert_file, key_file)))
        assert done.returncode == 65, done.stderr
        assert said in done.stderr.splitlines()[-1]
    done = lab.run("jmp", "shell", "--tls-grpc", "localhost:1", "--tls-ca", text, "--", "true")
    assert done.returncode == 65
    assert str(text) in done.stderr


@pytest.mark.parametrize("insecure", [True, False])
def test_a_lease_at_an_address_takes_what_its_configuration_says(
    lab: Lab, certificate: tuple[Path, Path], insecure: bool
):
    with lab.exporter(*tls(certificate)) as exporter:
        config = TLSConfigV1Alpha1(insecure=insecure)
        lease = DirectLease(address=exporter.address, portal=shared_portal(), unsafe=True, tls_config=config)
        if insecure:
            with lease.connect() as client:
                assert "power" in client.children
        else:
            with pytest.raises(ExporterUnreachableError, match="certificate"), lease.connect():
                pass
