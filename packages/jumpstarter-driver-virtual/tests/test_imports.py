"""What the modules cost to import; start-up is imports."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("client", ("pydantic", "rich", "yaml", "anyio", "pexpect")),  # grpc brings asyncio
        ("cli", ("pydantic", "rich", "yaml", "anyio", "asyncio", "pexpect")),
        ("driver", ("pydantic", "rich", "yaml", "click", "pexpect")),
        ("emulator", ("jumpstarter", "anyio", "asyncio", "pydantic")),
    ],
)
def test_a_module_does_not_import_what_it_need_not(module: str, forbidden: tuple[str, ...]):
    code = f"import jumpstarter_driver_virtual.{module}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & set(forbidden)
