"""Drivers for the Template.

It answers lines of SCPI on a TCP port: `*IDN?` with who it is, `MEAS?` with a number (SCPI-1999, chapters 4 and 18).
"""

import socket
from dataclasses import dataclass

from jumpstarter.driver import Driver, export


@dataclass(kw_only=True)
class Template(Driver):
    """A Template in the network."""

    host: str
    """Name or address of the device."""

    port: int = 5025
    """TCP port of its command interface."""

    timeout: float = 2.0
    """Seconds to wait for an answer."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_template.client.TemplateClient"

    @export
    def identify(self) -> str:
        """Manufacturer, model, serial number and firmware, as the device says them."""
        return self._ask("*IDN?")

    @export
    def measure(self) -> float:
        """What the device measures now."""
        return float(self._ask("MEAS?"))

    def _ask(self, question: str) -> str:
        try:
            with socket.create_connection((self.host, self.port), timeout=self.timeout) as connection:
                connection.sendall(f"{question}\n".encode())
                with connection.makefile("r", encoding="ascii") as answers:
                    answer = answers.readline()
        except OSError as e:
            where = f"template at {self.host}:{self.port}"
            raise ConnectionError(f"{where}: {e}; check its power, its cable and the configured address") from e
        if not answer.endswith("\n"):
            raise ConnectionError(f"template at {self.host}:{self.port} hung up without an answer to {question}")
        self.logger.debug("%s: %s", question, answer.strip())
        return answer.strip()
