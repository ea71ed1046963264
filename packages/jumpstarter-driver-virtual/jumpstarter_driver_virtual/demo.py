"""`jmp demo`: a tour of the simulated board, by the very commands that a user would type."""

import hashlib
import lzma
import sys
from collections.abc import Callable
from dataclasses import dataclass

import click

from .backstage import Backstage, DemoError

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: demo
export:
  board:
    type: jumpstarter_driver_virtual.driver.VirtualBoard
"""

SCRIPT = """\
from urllib.request import urlopen

from jumpstarter.utils.env import env
from jumpstarter_driver_network.adapters import TcpPortforwardAdapter

with env() as client:
    client.board.power.on()
    client.board.led.wait_for_active(timeout=10)
    with TcpPortforwardAdapter(client=client.board.http) as (host, port):
        print(urlopen(f"http://{host}:{port}/status.json").read().decode())
"""

IMAGE = b"my first image\n"


@dataclass
class Tour:
    """The steps of the tour, in their order."""

    backstage: Backstage
    between: Callable[[], None]
    """Called between two steps; waits for the user, if there is one."""

    def run(self) -> None:
        """Walk through all steps; raises DemoError where one fails."""
        steps = (self.config, self.exporter, self.tree, self.boot, self.meter, self.page, self.flash, self.off)
        for number, step in enumerate(steps, 1):
            if number > 1:
                self.between()
            click.secho(f"\n{number}. {step.__doc__}", bold=True)
            step()

    def config(self) -> None:
        """An exporter serves devices that a YAML file names; this one has a simulated board"""
        (self.backstage.folder / "demo.yaml").write_text(CONFIG)
        self.backstage.show("cat demo.yaml", CONFIG)

    def exporter(self) -> None:
        """It runs on the host that has the hardware: here, in the background"""
        self.backstage.start_exporter("jmp run --exporter-config demo.yaml")

    def tree(self) -> None:
        """What it serves is a tree, and every part has commands"""
        self.backstage.run("j", expect="board")

    def boot(self) -> None:
        """With the console open, switch the board on and watch it boot"""
        with self.backstage.console("login:"):
            self.backstage.run("j board power on")

    def meter(self) -> None:
        """The supply has a meter"""
        self.backstage.run("j board power read --count 3 --interval 0.2", expect="V")

    def page(self) -> None:
        """From Python, in a session of its own that begins with the board off: a port forward to its web page"""
        (self.backstage.folder / "page.py").write_text(SCRIPT)
        self.backstage.show("cat page.py", SCRIPT)
        self.backstage.run("jmp shell -- python page.py", expect='"simulated": true')

    def flash(self) -> None:
        """Flash another image, compressed: it is read back and compared, and its digest is in the boot log then"""
        (self.backstage.folder / "my.img.xz").write_bytes(lzma.compress(IMAGE))
        digest = hashlib.sha256(IMAGE).hexdigest()
        self.backstage.show("echo my first image | xz > my.img.xz")
        self.backstage.run("j board storage flash my.img.xz", expect=digest)
        with self.backstage.console("Starting system ...", expect=digest[:12]):
            self.backstage.run("j board power cycle --wait 0.5")

    def off(self) -> None:
        """Switch it off"""
        self.backstage.run("j board power off")
        self.backstage.run("j board state", expect="stage: off")


@click.command()
@click.option("--pause/--no-pause", default=None, help="Wait for Enter between the steps (default: on a terminal).")
@click.option("-y", "--yes", "--non-interactive", "unattended", is_flag=True, help="Ask nothing, wait for nothing.")
def demo(pause: bool | None, unattended: bool) -> None:
    """Show a simulated board: power, console, web page, meter, flashing."""
    attended = sys.stdin.isatty() and sys.stdout.isatty() and not unattended
    pauses = not unattended and (attended if pause is None else pause)
    click.echo("A simulated board, through the real path: YAML, exporter, gRPC, client. No hardware is involved.")
    with Backstage() as backstage:
        Tour(backstage, _wait_for_enter if pauses else lambda: None).run()
        if attended and click.confirm("\nOpen a shell with the board now? (leave it with exit)", default=True):
            backstage.open_shell("jmp shell --name demo")
    click.echo("\nThat was all. The same with your own file:")
    click.echo("  jmp run --exporter-config FILE     then, in another terminal: jmp shell")


def main(*args: str) -> object:
    """Run the tour; returns the exit status, or raises what made it fail."""
    try:
        return demo.main(args=list(args), prog_name="jmp demo", standalone_mode=False)
    except DemoError as e:
        raise click.ClickException(f"the demo failed: {e}") from e


def _wait_for_enter() -> None:
    click.secho("\n[Enter] ", dim=True, nl=False)
    if not sys.stdin.readline():
        click.echo()
