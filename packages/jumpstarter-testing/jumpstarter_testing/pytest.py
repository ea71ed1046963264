"""Tests on devices: in `jmp shell`, or with a lease of their own."""

from collections.abc import Generator
from typing import ClassVar

import pytest
from jumpstarter.client import DriverClient
from jumpstarter.common.exceptions import ConfigurationError, EnvironmentVariableNotSetError


class JumpstarterTest:
    """Base of a class of tests, all of which use one `client`: that of the exporter's root."""

    selector: ClassVar[str | None] = None
    """Labels of the exporter that is leased where the tests do not run in `jmp shell`."""

    @pytest.fixture(scope="class")
    def client(self) -> Generator[DriverClient]:
        """The exporter that the environment names; else one with `selector`, leased by the user's current client.

        Raises EnvironmentVariableNotSetError where there is neither, ConfigurationError where no client is chosen,
        and what leasing raises.
        """
        from jumpstarter.utils.env import endpoint_from_env, env

        try:
            endpoint_from_env()
        except EnvironmentVariableNotSetError:
            if self.selector is None:
                raise
            yield from _leased(self.selector)
        else:
            with env() as client:
                yield client


def _leased(selector: str) -> Generator[DriverClient]:
    from jumpstarter.config.client import ClientConfigV1Alpha1
    from jumpstarter.config.user import UserConfigV1Alpha1

    config = ClientConfigV1Alpha1.try_from_env() or UserConfigV1Alpha1.current()
    if config is None:
        raise ConfigurationError("no client is chosen for the lease of the tests: jmp login, or use jmp shell")
    with config.lease(selector) as lease, lease.connect() as client:
        yield client
