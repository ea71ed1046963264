"""Text from outside, made safe for a terminal, a log or a prompt, and text of ours, made free of secrets."""

import re

from .limits import MAX_DOC

HIDDEN = "***"
"""What stands for a secret."""

_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and newline, DEL, C1: ESC and CSI are among them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls: they reorder what is read
    "\u2028\u2029"  # line and paragraph separators: one record is one line
    "\ud800-\udfff"  # lone surrogates: no encoding takes them
    "]"
)

_WORDS = r"(?:pass(?:word|wd|phrase)|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|signature)"
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_LIKE_A_SECRET = r"(?=\S{16}|\S{0,15}\d)\S+"  # a word of prose is neither long nor has digits

_HINTS_AT_SECRETS = rf"(?i)://|bearer|authorization|eyJ|gh[a-z]_|glpat-|PRIVATE KEY|{_WORDS}"
"""Most texts have nothing of this, and stay as they are."""

_SECRETS = (
    # a private key, even when its end is cut off
    r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    # https://user:password@host, https://token@host
    r"(://)[^\s/?#]{1,4096}(?=@)",
    rf"(?i)(authorization['\"]?\s*[:=]\s*)(?:{_QUOTED}|(?:\w+\s+)?\S+)",
    rf"(?i)(\bbearer\s+){_LIKE_A_SECRET}",
    # what a wrong argument was: password: expected str, got …
    rf"(?i)({_WORDS}\w{{0,20}}: expected [^\n]{{1,200}}?, got )(?:{_QUOTED}|\S+)",
    # token=…, "token": …, --token …
    rf"(?i)({_WORDS}\w{{0,20}}['\"]?\s*=\s*)(?:{_QUOTED}|[^\s&;,)\]}}]+)",
    rf"(?i)({_WORDS}\w{{0,20}}['\"]\s*:\s*)(?:{_QUOTED}|[^\s,)\]}}]+)",
    rf"(?i)({_WORDS}\w{{0,20}}:\s+)(?:{_QUOTED}|{_LIKE_A_SECRET})",
    rf"(?i)(--?[\w-]{{0,20}}{_WORDS}\s+){_LIKE_A_SECRET}",
    # tokens that are known by their form
    r"()\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?",
    r"()\b(?:gh[a-z]_|glpat-)[\w-]{16,}",
)
"""What stands before a secret, and the secret. Compiled when first needed: not many texts have any."""


def redacted(text: str) -> str:
    """`text` without the secrets that can be told by their place: credentials in URLs, tokens, passwords, keys."""
    if re.search(_HINTS_AT_SECRETS, text):
        for pattern in _SECRETS:
            text = re.sub(pattern, rf"\1{HIDDEN}", text)
    return text


def printable(text: str) -> str:
    """`text` with every character that a terminal would obey shown as an escape (`\\x1b`, `\\u202e`).

    Newline and tab stay as they are.
    """
    return _UNSAFE.sub(_escape, text)


def printable_doc(text: str) -> str:
    """A docstring or help text as `printable` has it, cut where it is too long to be one."""
    return printable(text if len(text) <= MAX_DOC else f"{text[:MAX_DOC]}...")


def one_line(text: str) -> str:
    """`text` as a single printable line; line breaks and the blanks around them become one space."""
    return printable(" ".join(line.strip() for line in text.splitlines() if line.strip()))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
