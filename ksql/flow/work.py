"""How wide a request is: the seats that its work is worth. Pure."""

# Objects that a list takes one seat for, and the most it takes: kube-apiserver's figures.
OBJECTS_PER_SEAT = 100
SEATS_MAX = 10


def width_of(verb: str, objects: int, limit: int = 0, *, is_selective: bool = False) -> int:
    """Seats of a request; `objects` is how many there are of its resource, `limit` how many are asked for."""
    if verb not in ("list", "deletecollection", "watch"):
        return 1
    # A selector looks at all of them, whatever it finds.
    looked_at = objects if is_selective or not limit else min(limit, objects)
    return min(SEATS_MAX, max(1, -(-looked_at // OBJECTS_PER_SEAT)))
