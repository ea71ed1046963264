"""Starting costs imports, so what is imported is held here: modules by name, how many, and how long they take.

Times are compared with `import grpc` in the same run, so that a slow or busy machine does not matter.
"""

import os
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Lab

# Slow to import, and nothing that a client or the frame of a command needs.
HEAVY = {"pydantic", "pydantic_core", "rich", "yaml", "anyio"}
CLIENT = "from jumpstarter.client import DriverClient, client_from_path"


ON_DEMAND = {
    # for drivers in the wild: models and coroutines, which nothing of ours imports
    "jumpstarter.common.oci",
    "jumpstarter.common.resources",
    "jumpstarter.common.storage",
    "jumpstarter.common.streams",
    "jumpstarter.client.broken",  # of byte streams, which need anyio anyway
    "jumpstarter.client.lease",  # carries them
    "jumpstarter.client.direct",
    "jumpstarter.common.tempfile",
    "jumpstarter.common.utils",
}
"""Modules that nothing light imports: public paths of something higher, and what is loaded when it is used."""


def packages_below(name: str) -> list[str]:
    """The modules of a package, without those that are loaded on demand."""
    package = import_module(name)
    found = [name, *(module.name for module in pkgutil.walk_packages(package.__path__, f"{name}."))]
    return [module for module in found if module not in ON_DEMAND]


def driver_packages() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules() if module.name.startswith("jumpstarter_driver_"))


def driver_modules() -> list[str]:
    """The packages whose drivers are made here; one that only gives names of another package has none."""
    return [name for name in driver_packages() if any((Path(root) / name / "driver.py").exists() for root in sys.path)]


def modules_after(code: str, **env: str) -> set[str]:
    """Names of the modules that a fresh interpreter imports for the code; it may also exit with 0, even abruptly."""
    run = subprocess.run(
        [sys.executable, "-v", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    imported = set(re.findall(r"^import '([\w.]+)' #", run.stderr, flags=re.MULTILINE))
    assert "site" in imported
    return imported


def command(module: str, *arguments: str) -> str:
    return f"import sys; sys.argv = {[module, *arguments]}; from jumpstarter.cli.{module} import main; main()"


def present(forbidden: set[str], modules: set[str]) -> set[str]:
    """Those of the forbidden packages that are loaded."""
    return forbidden & {module.partition(".")[0] for module in modules}


def drivers_in(modules: set[str]) -> list[str]:
    return sorted(module for module in modules if module.startswith("jumpstarter_driver_"))


@pytest.mark.parametrize("statement", ["import jumpstarter.client", CLIENT])
def test_client_loads_no_exporter_no_driver_and_nothing_heavy(statement: str) -> None:
    modules = modules_after(statement)
    assert present(HEAVY, modules) == set()
    assert not [name for name in modules if name.startswith(("jumpstarter.exporter", "jumpstarter.driver"))]
    assert drivers_in(modules) == []
    assert len(modules) < 300


def test_lazy_client_package_loads_no_grpc() -> None:
    modules = modules_after("import jumpstarter.client")
    assert present({"grpc", "google", "asyncio", "click"}, modules) == set()


@pytest.mark.parametrize("module", [*packages_below("jumpstarter.common"), *packages_below("jumpstarter.client")])
def test_modules_of_client_and_common_load_nothing_heavy(module: str) -> None:
    assert present(HEAVY, modules_after(f"import {module}")) == set()


@pytest.mark.parametrize("name", ["jumpstarter.config", "jumpstarter.driver", "jumpstarter.exporter"])
def test_exporter_side_loads_no_pydantic_and_no_rich(name: str) -> None:
    modules = modules_after("; ".join(f"import {module}" for module in packages_below(name)))
    assert present({"pydantic", "rich"}, modules) == set()


@pytest.mark.parametrize("package", driver_packages())
def test_client_side_of_a_driver_loads_neither_driver_nor_anything_heavy(package: str) -> None:
    sides = [f"{package}.{side}" for side in ("client", "cli") if has_module(package, side)]
    modules = modules_after("; ".join(["import jumpstarter", *(f"import {side}" for side in sides)]))
    assert present(HEAVY, modules) == set()
    assert f"{package}.driver" not in modules


@pytest.mark.parametrize("package", driver_modules())
def test_exporter_side_of_a_driver_loads_no_pydantic(package: str) -> None:
    assert present({"pydantic", "rich"}, modules_after(f"import {package}.driver")) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["version"]])
def test_frame_of_the_commands_is_light(arguments: list[str]) -> None:
    modules = modules_after(command("jmp", *arguments))
    assert present({"grpc", "google", "asyncio", *HEAVY}, modules) == set()
    assert drivers_in(modules) == []
    assert len(modules) < 200


def test_a_call_from_the_command_line_loads_few_modules(lab: "Lab") -> None:
    with lab.exporter() as exporter:
        modules = modules_after(command("j", "power", "on"), JUMPSTARTER_HOST=exporter.address)
    assert "jumpstarter_driver_power.client" in modules
    assert present(HEAVY - {"anyio"}, modules) == set()
    assert "jumpstarter_driver_power.driver" not in modules
    generic = ("jumpstarter.client.generic", "jumpstarter.client.described", "jumpstarter.client.descriptors")
    assert not [name for name in modules if name.startswith(generic)]
    assert len(modules) < 400


@pytest.mark.slow
@pytest.mark.alone
def test_importing_the_client_takes_little_more_than_importing_grpc() -> None:
    grpc, lazy, client = best_times("import grpc", "import jumpstarter.client", CLIENT)
    assert lazy < 0.5 * grpc
    assert client < 1.8 * grpc


@pytest.mark.slow
@pytest.mark.alone
def test_help_takes_less_than_importing_grpc() -> None:
    grpc, frame = best_times("import grpc", "import jumpstarter.cli.jmp")
    assert frame < 1.0 * grpc


def best_times(*statements: str) -> list[float]:
    """The shortest processor time of each statement in fresh interpreters, taken in turns.

    Not the time on the clock: that of a machine which does other things too says little. Modules are compiled, as those
    of an installed package are, also where the environment says that a checkout's are not.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    timed = "import time; start = time.process_time(); {}; print(time.process_time() - start)"
    best = [float("inf")] * len(statements)
    for _ in range(8):
        for index, statement in enumerate(statements):
            command = [sys.executable, "-c", timed.format(statement)]
            output = subprocess.check_output(command, env=environment, text=True)
            best[index] = min(best[index], float(output))
    return best


def has_module(package: str, name: str) -> bool:
    spec: Any = import_module(package)
    return any(module.name == name for module in pkgutil.iter_modules(spec.__path__))
