"""The tests that the driver packages of the public release bring along, run on our core and on the public one.

    scripts/conformance [PACKAGE...]            run them on our core; says what differs from the table
    scripts/conformance --write [PACKAGE...]    the same, and writes the table anew
    scripts/conformance --baseline --write      run them on the public core, for the other half of the table

PACKAGE is the part of the distribution's name after jumpstarter-driver-.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from releases import PINS, NotInstalledError, made

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RELEASE = "0.9.0"
DATA = HERE / "conformance.json"
TABLE = HERE / "conformance.md"
KINDS = ("passed", "failed", "error", "skipped")
AT_A_TIME = 2

PACKAGES = re.findall(r"^jumpstarter-driver-(\S+)==", (PINS / "conformance.txt").read_text(), flags=re.MULTILINE)

CONCURRENT = {"can": ["jumpstarter_driver_can.driver:Can"]}
"""Drivers that need `concurrent: true` in a configuration for our core, by package: one call waits for another's."""

Outcomes = dict[str, str]
"""What became of each test: one of KINDS, by its name."""


def environment(core: str, uv: str) -> Path:
    """The Python of the environment with the packages, without a core, or with the public one."""
    more = [f"jumpstarter=={RELEASE}", f"jumpstarter-protocol=={RELEASE}"] if core == "public" else []
    return made(f"conformance-{core}", PINS / "conformance.txt", uv, *more) / "bin/python"


def run(core: str, python: Path, package: str) -> Outcomes:
    """Run the packaged tests of one driver package."""
    module = f"jumpstarter_driver_{package.replace('-', '_')}"
    with tempfile.TemporaryDirectory(prefix="jmp") as folder:
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("JMP_", "JUMPSTARTER_"))}
        variables |= {"HOME": folder, "XDG_CONFIG_HOME": f"{folder}/config", "XDG_RUNTIME_DIR": folder, "TERM": "dumb"}
        variables["PATH"] = f"{python.parent}{os.pathsep}{variables['PATH']}"
        plugins: list[str] = []
        if core == "ours":
            variables["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT / "packages/jumpstarter", HERE / "bench")))
            plugins = ["-p", "as_configured"]
            variables["CONFORMANCE_CONCURRENT"] = ",".join(CONCURRENT.get(package, ()))
        report = Path(folder) / "report.xml"
        options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", "--timeout", "60", f"--junitxml={report}"]
        command = [str(python), "-m", "pytest", "--pyargs", module, "-s", *plugins, *options]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"(all)": "error: no end within 300 s"}
        if not report.exists():
            return {"(all)": f"error: {(done.stdout + done.stderr).strip().splitlines()[-1]}"}
        return dict(sorted(outcomes(report)))


def outcomes(report: Path) -> list[tuple[str, str]]:
    """What a report in JUnit's XML says of each test."""
    found: list[tuple[str, str]] = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = ".".join(filter(None, (case.get("classname"), case.get("name"))))
        outcome = "passed"
        for kind, word in (("skipped", "skipped"), ("failure", "failed"), ("error", "error")):
            if (element := case.find(kind)) is not None:
                outcome = word if word == "skipped" else f"{word}: {one_line(element)}"
        found.append((name, outcome))
    return found


def one_line(element: ElementTree.Element) -> str:
    said = [line for line in (element.text or "").splitlines() if line.startswith("E  ")]
    text = said[0][1:] if said else element.get("message") or ""
    return re.sub(r"0x[0-9a-f]+|/tmp/\S+|/root/\S+|\d{5,}", "…", " ".join(text.split()))[:160]


def counts(outcomes: Outcomes) -> Counter[str]:
    return Counter(outcome.partition(":")[0] for outcome in outcomes.values())


def load() -> dict[str, dict[str, Outcomes]]:
    """What is known: core, package, test → outcome."""
    return json.loads(DATA.read_text()) if DATA.exists() else {"public": {}, "ours": {}}


def table(data: dict[str, dict[str, Outcomes]], reasons: dict[str, str]) -> str:
    """The table, and each test that does worse on our core, with the reason."""
    named = [path.replace(":", ".") for paths in CONCURRENT.values() for path in paths]
    classes = ", ".join(f"`{path}`" for path in named)
    lines = [
        "# Conformance",
        "",
        f"The tests in the driver packages of release {RELEASE}, on its own core and on ours: "
        "passed/failed/errors/skipped.",
        "Written by `scripts/conformance --write`; the reasons are in `conformance_reasons.json`.",
        "",
        f"With `concurrent: true` on our core, as a configuration would say: {classes}. "
        "In the public release the methods of one driver run at once, here one at a time unless it is said. "
        "These drivers wait in one call for what another one sends.",
        "",
        "| package | public core | our core | worse on ours | better on ours |",
        "|---|---|---|---|---|",
    ]
    details: dict[str, list[str]] = {}
    for package in PACKAGES:
        public, ours = data["public"].get(package, {}), data["ours"].get(package, {})
        worse = [name for name in public | ours if is_worse(public.get(name), ours.get(name))]
        better = [name for name in public | ours if is_worse(ours.get(name), public.get(name))]
        lines.append(f"| {package} | {cell(public)} | {cell(ours)} | {len(worse) or ''} | {len(better) or ''} |")
        for name in worse:
            details.setdefault(reasons.get(name, "UNEXPLAINED"), []).append(f"  * {package} `{name}`")
    lines += ["", "## What does worse on our core, and why", ""]
    for reason, names in details.items():
        lines += [f"* {reason}", *names]
    return "\n".join([*lines, *([] if details else ["Nothing."]), ""])


def cell(outcomes: Outcomes) -> str:
    found = counts(outcomes)
    return "/".join(str(found[kind]) for kind in KINDS) if outcomes else "not run"


def is_worse(before: str | None, now: str | None) -> bool:
    """Whether a test that passed does not any more."""
    return before == "passed" and now != "passed"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    parser.add_argument("packages", metavar="PACKAGE", nargs="*", default=PACKAGES, help="(default: all)")
    parser.add_argument("--baseline", action="store_true", help="on the public core")
    parser.add_argument("--write", action="store_true", help="write down what is found")
    arguments = parser.parse_args()
    core = "public" if arguments.baseline else "ours"
    packages: list[str] = [name.replace("_", "-") for name in arguments.packages]
    data = load()
    try:
        python = environment(core, shutil.which("uv") or "uv")
    except NotInstalledError as e:
        sys.stderr.write(f"the packages cannot be installed here: {e}\n")
        return 69
    changed = False
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for package, found in zip(packages, pool.map(partial(run, core, python), packages), strict=True):
            known = data[core].get(package, {})
            sys.stdout.write(f"{package:14} {cell(found)}\n")
            for name in sorted(known.keys() | found.keys()):
                if known.get(name) != found.get(name):
                    sys.stdout.write(f"    {name}: {known.get(name, 'new')} → {found.get(name, 'gone')}\n")
                changed |= is_worse(known.get(name), found.get(name))
            data[core][package] = found
    if arguments.write:
        DATA.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
        TABLE.write_text(table(data, json.loads((HERE / "conformance_reasons.json").read_text())))
    return 1 if changed and not arguments.write else 0


if __name__ == "__main__":
    sys.exit(main())
