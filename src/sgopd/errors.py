"""Errors written for the person who reads them at 2 a.m.; the command line turns them into exit code 2. Knows no stage."""

import errno
import os
import re

_FAULTS = {
    errno.ENOSPC: "The disk is full. Free some space",
    errno.EDQUOT: "The disk quota is used up. Free some space",
    errno.EFBIG: "The limit on the size of a file is reached. Raise it (ulimit -f)",
    errno.EROFS: "The file system is read-only. Make it writable",
    errno.EACCES: "The permission is missing. Grant it",
    errno.EPERM: "The permission is missing. Grant it",
    errno.EIO: "The disk reports an error. Replace or check it",
}
_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad alloc",
    "bad_alloc",
    "malloc of size",
)
_KEPT = " and run the command again: it goes on after what was written whole, and uses nothing that was not."


_SECRET_NAMES = re.compile(r"TOKEN|PASSWORD|PASSWD|SECRET|API_?KEY|ACCESS_KEY", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(\w://)[^/\s@]+@")


def masked(text: str) -> str:
    """``text`` without user and password of addresses, and without the values of environment variables that hold secrets."""
    text = _CREDENTIALS.sub(r"\1***@", text)
    for name, value in os.environ.items():
        if _SECRET_NAMES.search(name) and len(value) > 5:
            text = text.replace(value, "***")
    return text


class UserError(Exception):
    """Something the user can put right. The message names what, where (file, key, value) and the way out."""


class NotFinite(UserError):
    """A NaN or an infinity where training needs a number."""


def machine_fault(error: BaseException) -> str | None:
    """What to tell the user when the machine, not the program, is at fault: disk, permission, memory. None for anything else.

    Libraries wrap such errors in types of their own, so the text is looked at too.
    """
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in _MEMORY):
        return f"{text.splitlines()[0]}. The memory is used up. Free some, or ask for less at a time,{_KEPT}"
    for number, way_out in _FAULTS.items():
        if getattr(error, "errno", None) == number or f"(os error {number})" in text:
            return f"{text.splitlines()[0]}. {way_out}{_KEPT}"
    if isinstance(error, OSError):
        return f"{text.splitlines()[0]}. Check the path that it names{_KEPT}"
    return None
