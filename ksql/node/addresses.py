"""Addresses of one node's pods: none is given twice while it is held.

The next address is looked for behind the last one given, so that an address rests as long as possible
before another pod gets it: whoever still talks to the old pod notices that it is gone.
"""

from ipaddress import IPv4Address, IPv4Network


class AddressesExhaustedError(Exception):
    """Every address of the node's range is held."""


class Addresses:
    """The range `cidr`; its first two addresses are the network's own and the node's bridge."""

    def __init__(self, cidr: str) -> None:
        network = IPv4Network(cidr)
        self._first = int(network.network_address) + 2
        self._count = network.num_addresses - 3  # the last is the broadcast address
        self._network = network
        self._next = 0
        self._holder: dict[int, str] = {}
        self._held: dict[str, int] = {}

    def take(self, holder: str) -> str:
        """An address for `holder`, the same one when it holds one already."""
        if holder in self._held:
            return str(self._network.network_address + (self._held[holder] + 2))
        for step in range(self._count):
            number = (self._next + step) % self._count
            if number not in self._holder:
                self._next = number + 1
                self._holder[number], self._held[holder] = holder, number
                return str(self._network.network_address + (number + 2))
        raise AddressesExhaustedError(f"no free address in {self._network}")

    def reserve(self, address: str, holder: str) -> None:
        """`holder` has this address already (it was running before)."""
        number = int(IPv4Address(address)) - self._first
        if 0 <= number < self._count:
            self._holder[number], self._held[holder] = holder, number

    def release(self, holder: str) -> None:
        number = self._held.pop(holder, None)
        if number is not None:
            del self._holder[number]

    def holder(self, address: str) -> str | None:
        """Who has an address."""
        return self._holder.get(int(IPv4Address(address)) - self._first)
