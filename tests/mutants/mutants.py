"""Mutants of the core: each takes one guard away, and names the tests that have to notice."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

CORE = Path(__file__).parents[2] / "packages/jumpstarter/jumpstarter"


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str
    """Its path in the package."""
    guard: str
    """The text that is there, once."""
    fault: str
    """What stands there instead."""
    caught_by: tuple[str, ...]
    """Tests each of which fails with the fault: the quickest that there are, since all of them run once more."""

    def apply(self, package: Path) -> None:
        """Change a copy of the package."""
        module = package / self.module
        text = module.read_text()
        assert text.count(self.guard) == 1, f"{self.module} has {text.count(self.guard)} times {self.guard!r}, not once"
        module.write_text(text.replace(self.guard, self.fault))


def copy_core(directory: Path) -> Path:
    """Copy the core's package, with what was compiled of it; whoever has `directory` on PYTHONPATH runs the copy."""
    return Path(shutil.copytree(CORE, directory / CORE.name))


_TESTS = "packages/jumpstarter/tests"
_NOT_READY = f"{_TESTS}/test_session.py::test_calls_are_refused_unless_the_session_is_ready"
_UNCLEAN = "tests/faults/test_ends_without_goaway.py"


_UNAWAITED = "__import__('contextlib').nullcontext"
"""Enters nothing, and lets a coroutine be that nobody runs."""

MUTANTS = {
    # one gate for every call, which is waited for
    "calls do not wait for the gate": Mutant(
        "exporter/service.py",
        "        with await self._admit(request, context):\n            await session.",
        f"        with {_UNAWAITED}(self._admit(request, context)):\n            await session.",
        (f"{_NOT_READY}[call]",),
    ),
    "streamed calls do not wait for the gate": Mutant(
        "exporter/service.py",
        "            with await self._admit(request, context):\n                await self.",
        f"            with {_UNAWAITED}(self._admit(request, context)):\n                await self.",
        (f"{_NOT_READY}[streamed call]",),
    ),
    "byte streams do not wait for the gate": Mutant(
        "exporter/streams.py",
        "with await gate.admit(context), session.",
        f"with {_UNAWAITED}(gate.admit(context)), session.",
        (f"{_NOT_READY}[byte stream]",),
    ),
    "the gate takes any token for that of the session": Mutant(
        "exporter/ownership.py",
        "elif tenure.token == token:",
        "else:",
        (f"{_TESTS}/test_ownership.py::test_an_explicit_session_is_for_its_token_only",),
    ),
    # a clean end is a GOAWAY
    "an exporter takes the end of a call for the end of the bytes": Mutant(
        "streams/router.py",
        "            raise await self._call_ended()\n        if self._quick",
        "            self._eof_received = EndOfStream()\n            return None\n        if self._quick",
        (f"{_UNCLEAN}::test_of_a_client[unix-said1-connect ended by BrokenResourceError]",),
    ),
    "a client takes the end of a call for the end of the bytes": Mutant(
        "client/direct.py",
        "            raise ClosedResourceError\n        raise self._broken()\n\n    def _read_before",
        "            raise ClosedResourceError\n        return Frame(kind=frames.GOAWAY)\n\n    def _read_before",
        (f"{_UNCLEAN}::test_of_an_exporter[said1-BrokenResourceError]",),
    ),
    # whoever starts a process owns all that comes of it
    "only the command itself is ended": Mutant(
        "common/guardian.py",
        "        self.signal(signal.SIGTERM, signal.SIGCONT)\n",
        "        os.kill(self.leader, signal.SIGTERM)\n        return []\n",
        (f"{_TESTS}/test_processes.py::test_the_end_of_the_context_is_the_end_of_all",),
    ),
    # limits: what they are, and that they are kept
    "the limit of waiting calls is a hundredfold": Mutant(
        "common/limits.py",
        "DRIVER_QUEUE = 64\n",
        "DRIVER_QUEUE = 6400\n",
        (f"{_TESTS}/test_limits.py",),
    ),
    "a hundred times as many clients may wait": Mutant(
        "exporter/ownership.py",
        "len(self._queue) >= MAX_WAITING",
        "len(self._queue) >= 100 * MAX_WAITING",
        (f"{_TESTS}/test_ownership.py::test_so_many_may_wait_and_no_more",),
    ),
    "values may nest a hundred times as deep": Mutant(
        "common/typed_reader.py",
        "depth >= MAX_DEPTH",
        "depth >= 100 * MAX_DEPTH",
        (f"{_TESTS}/test_typed_json.py::test_nesting_has_the_same_limit_on_both_ends",),
    ),
    # text from outside
    "what a terminal would obey is shown as it is": Mutant(
        "common/text.py",
        "return _UNSAFE.sub(_escape, text)",
        "return text",
        (f"{_TESTS}/test_cli_text.py::test_escapes_can_be_read",),
    ),
    "secrets stay in texts": Mutant(
        "common/text.py",
        "if re.search(_HINTS_AT_SECRETS, text):",
        "if False:",
        (f"{_TESTS}/test_redacted.py::test_credentials_in_urls",),
    ),
    # what a peer sends chooses no code
    "any class that an exporter names is loaded": Mutant(
        "common/importlib.py",
        "    return own or any(",
        "    return True or any(",
        (f"{_TESTS}/test_session.py::test_not_installed_not_allowed_and_failed_to_import_are_three_messages",),
    ),
}
