"""Whether a folder is on this computer: where SQLite may map memory and trust its locks."""

from __future__ import annotations

import os

__all__ = ["on_network"]

# Mapped memory is not shared between hosts there, and locks are slow; fuse is rarely a local disk.
_NETWORK = {
    "9p", "afs", "afpfs", "beegfs", "ceph", "cifs", "davfs", "fuse", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs",
}  # fmt: skip


def on_network(folder: str, mounts: str | None = None) -> bool:
    """Return whether `folder` is on a network file system; where there is no list of mounts, False.

    Parameters
    ----------
    folder : str
    mounts : str, optional
        Text in the format of ``/proc/mounts``, for tests.
    """
    if mounts is None:
        try:
            with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
                mounts = file.read()
        except OSError:
            return False
    path = os.path.realpath(folder)
    best, kind = -1, ""
    for line in mounts.splitlines():
        words = line.split(" ")
        if len(words) < 3:
            continue
        place = words[1]
        for code in (r"\040", r"\011", r"\012", r"\134"):
            place = place.replace(code, chr(int(code[1:], 8)))
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= best:  # the later of two mounts on one place is the one that is seen
            best, kind = len(place), words[2]
    return kind.partition(".")[0] in _NETWORK
