"""How often a shard was begun: a picture that kills its worker is found and passed over, after it did so twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from multibox.errors import MultiboxError
from multibox.scale.files import Place, content, remove, write

PREFIX = "_begun-"
"""How the names of these files begin."""
_CAREFUL = 3
"""From this attempt on the picture at work is noted before each one."""
_MOST = 20
"""Workers that die on one shard before the run is given up."""
_DEADLY = 2
"""Workers that die on one picture before it is passed over."""


@dataclass
class Attempts:
    """A small file beside the results while a shard is at work.

    Most workers die for reasons of their machine, and the shard is simply begun again. From the third time on, the
    file also says which picture is `at` work; where two workers died `deaths` at the same one, it is passed over.
    """

    place: Place
    begun: int = 0
    at: int | None = None
    deaths: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begin(cls, output: Place, shard: int) -> Attempts:
        """Notes that a shard is begun, once more. Raises `MultiboxError` for one that never ends."""
        place = output.beside(f"{PREFIX}{shard:06d}.json")
        try:
            attempts = cls(place, **json.loads(content(place)))
        except (OSError, ValueError, TypeError):
            attempts = cls(place)  # the first time
        if attempts.at is not None:
            attempts.deaths[str(attempts.at)] = attempts.deaths.get(str(attempts.at), 0) + 1
        attempts.begun, attempts.at = attempts.begun + 1, None
        if attempts.begun > _MOST:
            raise MultiboxError(f"{_MOST} workers died on shard {shard}; look for the reason in their machines' logs")
        attempts._note()
        return attempts

    @property
    def careful(self) -> bool:
        """Whether pictures are to be taken one at a time, each noted."""
        return self.begun >= _CAREFUL

    def start(self, number: int) -> bool:
        """Notes that a picture is at work; False where it is to be passed over."""
        if self.deaths.get(str(number), 0) >= _DEADLY:
            return False
        self.at = number
        self._note()
        return True

    def end(self) -> None:
        """The shard is done: removes the file."""
        remove(self.place)

    def _note(self) -> None:
        table = {"begun": self.begun, "at": self.at, "deaths": self.deaths}
        write(self.place, json.dumps(table).encode())
