"""A bag of things to draw from at random, which does not grow without bound."""

from random import Random
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Pool(Generic[ItemT]):
    """Holds `most` at most; one more takes the place of another."""

    def __init__(self, most: int, random: Random) -> None:
        self._most = most
        self._random = random
        self._items: list[ItemT] = []

    def add(self, item: ItemT) -> None:
        """Put one in."""
        if len(self._items) < self._most:
            self._items.append(item)
        else:
            self._items[self._random.randrange(self._most)] = item

    def pick(self) -> ItemT | None:
        """One of them; None where there is none."""
        return self._random.choice(self._items) if self._items else None

    def take(self) -> ItemT | None:
        """One of them, which is taken out; None where there is none."""
        if not self._items:
            return None
        place = self._random.randrange(len(self._items))
        self._items[place], self._items[-1] = self._items[-1], self._items[place]
        return self._items.pop()
