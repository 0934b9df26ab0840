"""Which custom kinds the cluster serves: the catalogue's upper layer as a fold of the stored CRDs.

Whenever the state takes in a change of a CustomResourceDefinition, the layer is made anew from all of them,
before the writer is answered: a restart, another server on the same log and a replay all come to the same.
A version that is served no more, or otherwise, ends its watches; their clients list again and see.
"""

import logging

from ksql.schema.catalogue import Catalogue
from ksql.schema.custom.definitions import DEFINITIONS, Kinds
from ksql.schema.resources import ResourceType
from ksql.state.objects import Objects

logger = logging.getLogger(__name__)


class Definitions:
    """Keeps a catalogue in step with the state."""

    def __init__(self, objects: Objects, catalogue: Catalogue) -> None:
        self._objects, self._catalogue = objects, catalogue
        self._kinds = Kinds()
        objects.listen(DEFINITIONS, self.refresh)
        if objects.count(DEFINITIONS):
            self.refresh()

    def refresh(self) -> None:
        """Serve what the CRDs say now."""
        before = self._catalogue.custom
        kinds = self._kinds.of([entry.document for entry in self._objects.list(DEFINITIONS)])
        served = [kind for kind in kinds if not self._is_taken(kind)]
        if len(served) == len(before) and all(new is old for new, old in zip(served, before, strict=True)):
            return
        self._catalogue.serve(served)
        for kind in before:
            if kind.custom is not None and kind.custom.is_over:
                self._objects.window.strike(kind.key)

    def _is_taken(self, kind: ResourceType) -> bool:
        """The minor's own kinds come first: a CRD cannot take their place."""
        taken = self._catalogue.is_builtin(kind.group, kind.version)
        if taken:
            logger.warning("%s/%s is built in: %s is not served", kind.group, kind.version, kind.resource)
        return taken
