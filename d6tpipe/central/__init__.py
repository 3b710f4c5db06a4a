"""luigi's central scheduler: showing a run in its pages, and sharing a graph among machines through it."""

from __future__ import annotations

from d6tpipe.central.claims import ClaimingLedger
from d6tpipe.central.connection import Connection, address_of
from d6tpipe.central.mirror import Mirror
from d6tpipe.central.status import RemoteStatus

__all__ = ["ClaimingLedger", "Connection", "Mirror", "RemoteStatus", "address_of"]
