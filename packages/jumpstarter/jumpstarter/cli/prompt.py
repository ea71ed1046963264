"""Interactive shells, with a prompt that names the exporter."""

from __future__ import annotations

import re
from pathlib import Path

_LONGEST = 64


def shell_command(shell: str, exporter: str, *, profiles: bool = False) -> tuple[list[str], dict[str, str]]:
    """What to run, and which variables to set, for a shell whose prompt names the exporter.

    The user's start files are left out where they would replace the prompt, unless they are wanted.
    """
    name = prompt_name(exporter)
    match Path(shell).name:
        case "bash":
            return [shell, *([] if profiles else ["--norc", "--noprofile"])], {"PS1": rf"[{name}] \W \$ "}
        case "zsh":
            return [shell, *([] if profiles else ["--no-rcs"])], {"PS1": f"[{name}] %1~ %# "}
        case "fish":
            return [shell, "--init-command", f"function fish_prompt; echo -n '[{name}] '(prompt_pwd)' > '; end"], {}
        case _:
            return [shell], {"PS1": f"[{name}] $ "}


def prompt_name(exporter: str) -> str:
    """The name of an exporter, without anything that a shell would expand or a terminal obey."""
    return re.sub(r"[^A-Za-z0-9._:-]", "_", exporter)[:_LONGEST]
