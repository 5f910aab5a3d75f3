"""A dictionary that forgets what was not used for longest, so that strangers cannot fill it."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """At most `most` entries. Whoever looks one up by `use` keeps it for longer."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return what is there; it does not live longer by that."""
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep this, as the youngest."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def use(self, key: K, make: Callable[[], V]) -> V:
        """Return what is there, made anew if nothing is."""
        value = self._entries.get(key)
        if value is None:
            value = make()
            self.put(key, value)
        else:
            self._entries.move_to_end(key)
        return value

    def items(self) -> list[tuple[K, V]]:
        """Return all, the oldest first."""
        return list(self._entries.items())

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
