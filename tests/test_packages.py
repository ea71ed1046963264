"""Every package stands alone: its wheel installs, imports and says the truth about itself."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PACKAGES = Path(__file__).resolve().parents[1] / "packages"
NAMES = sorted(path.parent.name for path in PACKAGES.glob("*/pyproject.toml"))
DRIVERS = [name for name in NAMES if name.startswith("jumpstarter-driver-")]

# The dependencies of the core and theirs. Growing this list costs every user; the reason belongs into its pyproject.
CORE = {
    "anyio": {"anyio", "idna", "sniffio", "typing-extensions"},
    "click": {"click"},
    "grpcio": {"grpcio", "typing-extensions"},
    "protobuf": {"protobuf"},
    "pydantic": {"pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection"},
    "pyyaml": {"pyyaml"},
}

TEST_FILE = re.compile(r"(^|/)(tests?/|test_[^/]*\.py$|[^/]*_test\.py$|conftest\.py$)")

IMPORT_EVERYTHING = """\
import pkgutil, sys
from importlib import import_module
for package in sys.argv[1:]:
    path = import_module(package).__path__
    for module in pkgutil.walk_packages(path, package + ".", onerror=lambda name: sys.exit("cannot import " + name)):
        if not module.name.endswith("__main__"):
            import_module(module.name)
"""
LOAD_ENTRY_POINTS = """\
import sys
from importlib.metadata import distribution
for entry_point in distribution(sys.argv[1]).entry_points:
    if entry_point.group in ("jumpstarter.drivers", "jumpstarter.adapters", "console_scripts"):
        loaded = entry_point.load()
        if entry_point.group == "jumpstarter.drivers":
            assert loaded.__name__ == entry_point.name, entry_point
            assert isinstance(loaded.client(), str)
        print(entry_point.group, entry_point.name)
"""

Installer = Callable[[str], Path]
slow_builds = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("wheels")]


def project(name: str) -> dict[str, Any]:
    return tomllib.loads((PACKAGES / name / "pyproject.toml").read_text())["project"]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """The output of a command, with nothing of this environment leaking into it; what it says when it fails."""
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=env, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def wheel(wheels: Path, name: str) -> Path:
    [found] = wheels.glob(f"{name.replace('-', '_')}-[0-9]*.whl")
    return found


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, wheels: Path, uv: str) -> Installer:
    """Give the Python of a fresh environment in which one package was installed, alone."""
    made: dict[str, Path] = {}

    def install(name: str) -> Path:
        if name not in made:
            venv = tmp_path_factory.mktemp("alone") / name
            python = venv / "bin/python"
            run(uv, "venv", "--quiet", "--no-project", "--python", sys.executable, venv)
            links = ["--find-links", wheels]
            run(uv, "pip", "install", "--quiet", "--no-config", "--python", python, *links, wheel(wheels, name))
            made[name] = python
        return made[name]

    return install


def installed_names(uv: str, python: Path) -> set[str]:
    lines = run(uv, "pip", "freeze", "--python", python).splitlines()
    return {re.split(r"==| @ ", line)[0].lower() for line in lines if not line.startswith("#")}


class TestWheel:
    pytestmark = slow_builds

    @pytest.mark.parametrize(("name", "most"), [("jumpstarter", 16), ("jumpstarter-driver-dutlink", 20)])
    def test_it_brings_few_packages_along(self, name: str, most: int, installed: Installer, uv: str) -> None:
        assert len(installed_names(uv, installed(name))) <= most

    @pytest.mark.parametrize("name", NAMES)
    def test_it_is_typed_and_ships_no_tests(self, name: str, wheels: Path) -> None:
        files = zipfile.ZipFile(wheel(wheels, name)).namelist()
        modules = {Path(file).parts[0] for file in files if not Path(file).parts[0].endswith(".dist-info")}
        assert modules == {path.parent.name for path in (PACKAGES / name).glob("*/__init__.py")}
        assert all(f"{module}/py.typed" in files for module in modules)
        assert [
            file for file in files if re.search(r"(^|/)(tests?/|test_[^/]*\.py|[^/]*_test\.py|conftest)", file)
        ] == []

    @pytest.mark.parametrize("name", NAMES)
    def test_it_installs_alone_and_every_module_of_it_imports(self, name: str, installed: Installer) -> None:
        modules = [path.parent.name for path in (PACKAGES / name).glob("*/__init__.py")]
        run(installed(name), "-W", "error", "-c", IMPORT_EVERYTHING, *modules)

    @pytest.mark.parametrize("name", NAMES)
    def test_what_it_registers_can_be_loaded(self, name: str, installed: Installer) -> None:
        loaded = run(installed(name), "-c", LOAD_ENTRY_POINTS, name)
        assert ("jumpstarter.drivers" in loaded) == (name in (*DRIVERS, "jumpstarter-compat"))

    @pytest.mark.parametrize("name", NAMES)
    def test_commands_come_with_every_package(self, name: str, installed: Installer) -> None:
        commands = installed(name).parent
        assert project("jumpstarter")["version"] in run(commands / "jmp", "version")
        run(commands / "j", "--help")

    def test_core_brings_its_declared_dependencies_and_theirs_only(self, installed: Installer, uv: str) -> None:
        assert declared("jumpstarter") == CORE.keys()
        assert installed_names(uv, installed("jumpstarter")) <= {"jumpstarter", *set[str]().union(*CORE.values())}

    @pytest.mark.parametrize("name", DRIVERS)
    def test_driver_brings_little_beyond_the_core(self, name: str, installed: Installer, uv: str) -> None:
        beyond = installed_names(uv, installed(name)) - set(NAMES) - installed_names(uv, installed("jumpstarter"))
        assert len(beyond) <= 4, beyond


def declared(name: str) -> set[str]:
    """Names of the distributions that a package requires, as it writes them."""
    return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in project(name).get("dependencies", [])}


@pytest.mark.parametrize("name", NAMES)
def test_sibling_is_required_by_a_range_that_its_version_satisfies(name: str) -> None:
    for requirement in project(name).get("dependencies", []):
        sibling = re.split(r"[^\w.-]", requirement)[0]
        if sibling in NAMES:
            major = int(project(sibling)["version"].split(".")[0])
            assert re.fullmatch(rf"{sibling}(\[[\w,]+\])?>={major}\.\d+(\.\d+)?,<{major + 1}", requirement), requirement


@pytest.mark.parametrize("name", NAMES)
def test_version_is_in_the_pyproject_only(name: str) -> None:
    version = project(name)["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    sources = [path for path in (PACKAGES / name).rglob("*.py") if "tests" not in path.parts]
    named = re.compile(rf"__version__\s*=|[\"']{re.escape(version)}[\"']")
    assert [str(path) for path in sources if named.search(path.read_text())] == []


@pytest.mark.parametrize("name", NAMES)
def test_changelog_starts_with_what_is_unreleased(name: str) -> None:
    headings = re.findall(r"^## (.*)$", (PACKAGES / name / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", heading) for heading in headings[1:])


def exporter_configs(text: str) -> list[str]:
    """The blocks of a README that are whole exporter configurations."""
    blocks = re.findall(r"^```ya?ml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "kind: ExporterConfig" in block]


@pytest.mark.parametrize("name", DRIVERS)
def test_readme_shows_a_config_that_loads(name: str, tmp_path: Path) -> None:
    from jumpstarter.config.exporter import ExporterConfigV1Alpha1

    configs = exporter_configs((PACKAGES / name / "README.md").read_text())
    assert configs, "the README of a driver shows a whole configuration"
    for number, text in enumerate(configs):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        ExporterConfigV1Alpha1.load_path(path).instantiate().close()
