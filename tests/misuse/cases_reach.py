"""Exporters that cannot be reached, let nobody in, or go away."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

from misuse_bench import SECRET, wait_for
from misuse_cases import case

if TYPE_CHECKING:
    from misuse_bench import Bench, Said


@case("no exporter runs here")
def _(bench: Bench) -> Said:
    return bench.run("j", "power", "on", XDG_RUNTIME_DIR=str(bench.directory("empty")))


@case("an exporter of an unknown name")
def _(bench: Bench) -> Said:
    with bench.another("lab2"):
        return bench.run("jmp", "shell", "--name", "lab3", "--", "true")


@case("two exporters and no word of which")
def _(bench: Bench) -> Said:
    runtime = bench.directory("two")
    with bench.another("lab4", XDG_RUNTIME_DIR=str(runtime)), bench.another("lab5", XDG_RUNTIME_DIR=str(runtime)):
        return bench.run("j", "power", "on", XDG_RUNTIME_DIR=str(runtime))


@case("a socket that is not there")
def _(bench: Bench) -> Said:
    return bench.run("jmp", "shell", "--socket", bench.lab.directory / "nowhere.sock", "--", "true")


@case("a file that is no socket")
def _(bench: Bench) -> Said:
    return bench.run("jmp", "shell", "--socket", bench.file("notes.txt", "no socket"), "--", "true")


@case("a socket that nobody serves any more")
def _(bench: Bench) -> Said:
    path = bench.lab.directory / "stale.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return bench.run("jmp", "shell", "--socket", path, "--", "true")


@case("a socket of another user")
def _(bench: Bench) -> Said:
    without_privileges = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    closed = bench.directory("closed")
    path = closed / "lab.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        closed.chmod(0)
        said = bench.run("jmp", "shell", "--socket", path, "--", "true", before=without_privileges)
        closed.chmod(0o700)
        return said


@case("a port that nobody serves")
def _(bench: Bench) -> Said:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = f"127.0.0.1:{port}"
    return bench.run("jmp", "shell", "--tls-grpc", address, "--tls-grpc-insecure", "--", "true")


@case("a host name that is not known")
def _(bench: Bench) -> Said:
    return bench.run("jmp", "shell", "--tls-grpc", "lab1.invalid:8083", "--tls-grpc-insecure", "--", "true")


@case("something else that listens there")
def _(bench: Bench) -> Said:
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        threading.Thread(target=answer, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        said = bench.run("jmp", "shell", "--tls-grpc", address, "--tls-grpc-insecure", "--", "true")
        server.shutdown(socket.SHUT_RDWR)
        return said


@case("clear text to an exporter with TLS")
def _(bench: Bench) -> Said:
    return bench.run("jmp", "shell", "--tls-grpc", bench.tls, "--tls-grpc-insecure", "--", "true")


@case("TLS to an exporter in clear text")
def _(bench: Bench) -> Said:
    return bench.run("jmp", "shell", "--tls-grpc", bench.clear_text, "--", "true")


def tls(bench: Bench, *options: str | os.PathLike[str], address: str = "") -> Said:
    return bench.run("jmp", "shell", "--tls-grpc", address or bench.tls, *map(str, options), "--", "true")


@case("an authority that is not trusted")
def _(bench: Bench) -> Said:
    return tls(bench, "--passphrase-file", bench.secret)


@case("a certificate for another name")
def _(bench: Bench) -> Said:
    address = bench.other_name
    return tls(bench, "--tls-ca", bench.lab.directory / "other/cert.pem", address=address)


@case("no passphrase")
def _(bench: Bench) -> Said:
    return tls(bench, "--tls-ca", bench.certificate[0])


@case("a wrong passphrase")
def _(bench: Bench) -> Said:
    wrong = bench.file("wrong", "incorrect horse")
    return tls(bench, "--tls-ca", bench.certificate[0], "--passphrase-file", wrong)


@case("a passphrase file that is not there")
def _(bench: Bench) -> Said:
    return tls(bench, "--passphrase-file", bench.lab.directory / "nowhere")


@case("a passphrase file that others can change")
def _(bench: Bench) -> Said:
    return tls(bench, "--passphrase-file", bench.file("open", SECRET, 0o666))


@case("an empty passphrase")
def _(bench: Bench) -> Said:
    return tls(bench, "--passphrase-file", bench.file("empty.txt", ""))


@case("authorities that are not in PEM")
def _(bench: Bench) -> Said:
    return tls(bench, "--tls-ca", bench.file("ca.pem", "hello"))


@case("an address in the environment that is none")
def _(bench: Bench) -> Said:
    return bench.run("j", "power", "on", JUMPSTARTER_HOST="lab1")


@case("the name of an exporter that runs already")
def _(bench: Bench) -> Said:
    with bench.another("lab6"):
        return bench.run("jmp", "run", "--exporter-config", bench.lab.directory / "lab6.yaml")


@case("a port that is in use")
def _(bench: Bench) -> Said:
    cert, key = bench.certificate
    tls = ("--tls-cert", str(cert), "--tls-key", str(key), "--passphrase-file", str(bench.secret))
    return bench.run("jmp", "run", "--exporter-config", bench.config, "--tls-grpc-listener", bench.tls, *tls)


@case("a host to listen on that is not this one")
def _(bench: Bench) -> Said:
    cert, key = bench.certificate
    tls = ("--tls-cert", str(cert), "--tls-key", str(key), "--passphrase-file", str(bench.secret))
    return bench.run("jmp", "run", "--exporter-config", bench.config, "--tls-grpc-listener", "192.0.2.1:8083", *tls)


@case("a session that somebody else has")
def _(bench: Bench) -> Said:
    with bench.held("held1") as exporter:
        return bench.run("jmp", "shell", "--socket", exporter.address, "--", "true")


@case("a session that somebody else has for longer than one waits")
def _(bench: Bench) -> Said:
    with bench.held("held2") as exporter:
        said = bench.run("jmp", "shell", "--socket", exporter.address, "--wait", "0.5", "--", "true")
    said.lines = said.lines.splitlines()[-1]  # the one before says what it is waiting for
    return said


@case("a device whose session somebody else has")
def _(bench: Bench) -> Said:
    with bench.held("held3") as exporter:
        return bench.run("j", "power", "on", before=(), **bench.attached(exporter.address))


@case("an exporter that is killed during a call")
def _(bench: Bench) -> Said:
    return bench.interrupted("killed", lambda exporter: exporter.process.kill())


@case("an exporter that is stopped during a call")
def _(bench: Bench) -> Said:
    return bench.interrupted("stopped", lambda exporter: exporter.process.send_signal(signal.SIGTERM))


@case("an exporter that is gone when the next call comes")
def _(bench: Bench) -> Said:
    with bench.another("gone") as exporter:

        def use(client: object) -> object:
            exporter.process.kill()
            exporter.process.wait()
            wait_for(lambda: exporter.process.poll() is not None)
            return client.children["power"].on()  # type: ignore[attr-defined]

        return bench.python('client.children["power"].on()', use, exporter.address)
