"""What a sink may ask of the trail that it is sent records of: the seals that are kept beside them.

The rule that lives here: no tile is believed. A proof is checked as its receiver will check it, from the lines as they
are shipped to the signed root, before it is handed out. A trail that cannot prove itself is shipped all the same, and
the log says so, once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from indelible.errors import IndelibleError
from indelible.shipper import route
from indelible.sinks.base import Seal, TooScattered
from indelible.trail.notice import Notice
from indelible.trail.proofs.elsewhere import leaf_of
from indelible.trail.proofs.manifest import MAX_HASHES
from indelible.trail.proofs.stored import MAX_LOOKS, hand_overs, open_sealed, signer_of
from indelible.trail.proofs.subset import proven_subset

if TYPE_CHECKING:
    from indelible.shipper.place import Place
    from indelible.sinks.base import Shipment
    from indelible.trail.layout import Layout

log = logging.getLogger("indelible")


class Seals:
    """See `sinks.base.Sealer`. Of one lane, on its thread."""

    def __init__(self, layout: Layout, place: Place, name: str) -> None:
        """`name` is the sink's."""
        self._layout = layout
        self._place = place
        self._notice = Notice(good=f"sink {name}: what it takes is proved again")
        self._name = name
        self.follows_on = True
        """Whether what is sent comes after what was sent before; not so of dead letters."""

    def before(self, origin: str) -> int | None:
        """See `Sealer`."""
        at = self._place.at
        return at.last if self.follows_on and at is not None and at.origin == origin else None

    def seal(self, origin: str, shipments: Sequence[Shipment], *, proves: bool) -> Seal | None:
        """See `Sealer`."""
        trail = route.find(self._layout, origin)
        if trail is None:
            return None
        try:
            found = self._sealed(trail.layout, shipments, proves=proves)
        except (IndelibleError, OSError) as exc:
            self._notice.bad(f"sink {self._name}: no proof goes with what it takes: {exc}")
            return None
        if proves and found.proof is None:
            about = "the tiles do not lead from its lines to the checkpoint; 'indelible verify' says more"
            self._notice.bad(f"sink {self._name}: no proof goes with what it takes: {about}")
        else:
            self._notice.well()
        return found

    def _sealed(self, layout: Layout, shipments: Sequence[Shipment], *, proves: bool) -> Seal:
        """Return the seal; without a proof when the tiles are wrong. Raises IndelibleError, OSError, TooScattered."""
        about = Seal("", "")
        for _ in range(
            MAX_LOOKS
        ):  # a writer at work may clear a partial tile away that its older checkpoint needs
            sealed = open_sealed(layout.active)
            if about.checkpoint == sealed.note.decode():
                break
            signer = signer_of(sealed, None)
            rotations = hand_overs(sealed.layout, signer).decode() or None
            about = Seal(sealed.note.decode(), signer.vkey(), rotations=rotations)
            if not proves:
                break
            leaves = [(one.seq, leaf_of(one.line)[0]) for one in shipments]
            proof = proven_subset(sealed.tiles, leaves) if leaves[-1][0] < sealed.checkpoint.size else None
            if proof is not None:
                if len(proof) > MAX_HASHES and len(shipments) > 1:
                    raise TooScattered
                about = about._replace(proof=tuple(proof))
                break
        return about
