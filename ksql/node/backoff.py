"""How long a container waits before it is started, or its image pulled, again. Pure."""

# Kubelet's numbers: the first restart comes at once, then 10 s doubling to 5 min, forgotten by a container
# that has run for twice the longest.
BACK_OFF_SECONDS_MIN = 10.0
BACK_OFF_SECONDS_MAX = 300.0
BACK_OFF_RESET_SECONDS = 2 * BACK_OFF_SECONDS_MAX


def next_back_off(seconds: float) -> float:
    """The wait after one of `seconds`."""
    return min(BACK_OFF_SECONDS_MAX, seconds * 2) if seconds else BACK_OFF_SECONDS_MIN


def go_duration(seconds: float) -> str:
    """As Go prints a duration: 10s, 1m20s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
