from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter_driver_template.client import TemplateClient
from jumpstarter_driver_template.driver import Template
from jumpstarter_driver_template.emulator import IDENTITY, Emulator


@pytest.fixture
def device() -> Iterator[Emulator]:
    with Emulator(value=2.25) as emulator:
        yield emulator


@contextmanager
def served(host: str, port: int) -> Generator[TemplateClient]:
    """A client of the driver, over the real wire."""
    with serve(Template(host=host, port=port)) as client:
        assert isinstance(client, TemplateClient)
        yield client


def test_device_says_who_it_is_and_what_it_measures(device: Emulator) -> None:
    with served(device.host, device.port) as template:
        assert template.identify() == IDENTITY
        assert template.measure() == 2.25


def test_commands_print_what_the_device_says(device: Emulator) -> None:
    with served(device.host, device.port) as template:
        result = CliRunner().invoke(template.cli(), ["measure"])
    assert (result.exit_code, result.output) == (0, "2.25\n")


def test_device_that_hangs_up_is_named(device: Emulator) -> None:
    device.value = None
    with (
        served(device.host, device.port) as template,
        pytest.raises(DriverError, match="hung up without an answer to MEAS"),
    ):
        template.measure()


def test_absent_device_says_where_and_what_to_do() -> None:
    with Emulator() as emulator:
        host, port = emulator.host, emulator.port
    with served(host, port) as template, pytest.raises(DriverError, match=f"{port}.*check its power"):
        template.identify()
