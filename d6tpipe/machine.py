"""The machine that this process runs on: its name, and which start of it this is."""

from __future__ import annotations

import getpass
import os
import platform
import zlib
from functools import lru_cache

__all__ = ["boot_id", "boot_tag", "host_name", "this_process", "user_name"]


@lru_cache(maxsize=1)
def host_name() -> str:
    """Return the network name of the machine."""
    return platform.node()


@lru_cache(maxsize=1)
def user_name() -> str:
    """Return the name of the user, or the number of one who has no name (in a container)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid()) if hasattr(os, "getuid") else ""


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return what tells this start of the machine from others; empty where the system does not say (not Linux)."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def this_process() -> tuple[str, str, int]:
    """Return what tells this process from all others, on whatever machine."""
    return host_name(), boot_id(), os.getpid()


@lru_cache(maxsize=1)
def boot_tag() -> bytes:
    """Return 8 bytes for this start of this machine: what was written before may have been lost in a power cut."""
    return b"%08x" % zlib.crc32(f"{host_name()}|{boot_id()}".encode())
