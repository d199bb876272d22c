"""What a codec opens on its engine and keeps: networks, entropy paths, a GPU for arrays that lie there.

What a newcomer gets wrong: nothing is opened before it is needed. Each thing is made once, under a lock, and is read
without it from then on; `close` gives all of it back, after the jobs that use it.
"""

import threading
from collections.abc import Callable
from typing import Any

from .arguments import whole
from .bitstream import Header
from .bundle import Bundle
from .cuda import Device, driver
from .engine import Engine, Session, traits_of
from .entropy import EntropyPath, Floats
from .errors import BitstreamError, EngineError
from .overlap import Overlap
from .room import Room
from .tiles import UNIT
from .transforms import Transform

OWN_DEVICE = (-1, "device")


class Networks:
    """A bundle's networks on an engine, by level and part. Safe to share between threads."""

    def __init__(self, bundle: Bundle, engine: Engine, window_size: int | None = None) -> None:
        """`window_size`: largest side of the transforms' windows; None is the engine's choice. Raises ArgumentError."""
        self.traits = traits_of(engine)
        window_size = self.traits.window_size if window_size is None else window_size
        self.window_size = whole("window_size", window_size, UNIT, unit=UNIT)
        self.window_pixels = min(self.traits.window_pixels, self.window_size**2)
        self.overlap = Overlap(self.traits)
        self.opened: dict[tuple[int, str], Any] = {}
        """By level and part; the entropy paths and a device of the codec's own too."""
        self.rooms = _rooms()
        """For x, for y_hat of whole images and for what a window takes of it."""
        self._bundle = bundle
        self._engine: Engine | None = engine
        self._lock = threading.RLock()

    def close(self) -> None:
        """Give back all that was opened, and the engine; nothing can be opened afterwards."""
        with self._lock:
            engine, self._engine = self._engine, None
            device = self.opened.pop(OWN_DEVICE, None)
            self.opened.clear()
            self.rooms = _rooms()
        self.overlap.close()
        for held in (device, engine):
            if held is not None:
                held.close()

    def device(self) -> Device:
        """The GPU for arrays that lie there: the engine's, or one opened for them alone."""
        of_engine = getattr(self._engine, "device", None)
        if isinstance(of_engine, Device):
            return of_engine
        found: Device = self._once(OWN_DEVICE, lambda: Device(driver()))
        return found

    def level(self, level: int | None) -> int:
        """A level that the bundle has; None is its heaviest. Raises BundleError, ArgumentError."""
        if level is None:
            return max(self._bundle.levels)
        return self._bundle.level(whole("level", level)).level

    def entropy_level(self, header: Header) -> int:
        """Where this bundle has the entropy path that the stream names. Raises BitstreamError."""
        levels = self._bundle.levels.values()
        found = [level.level for level in levels if level.entropy_id == header.entropy_id]
        if not found:
            here = ", ".join(level.entropy_id.hex() for level in levels)
            raise BitstreamError(
                f"the file needs entropy path {header.entropy_id.hex()} (level {header.level} of its bundle), this one "
                f"has {here}; decode with the bundle that encoded the file, or one that kept its entropy path"
            )
        return header.level if header.level in found else found[0]

    def transform(self, part: str, level: int, gain: Floats) -> Transform:
        """analysis or synthesis of a level, with the gain (M,) of a quality."""
        margin, traits = self._bundle.receptive_field[part], self.traits
        return Transform(
            self._session(level, part),
            gain,
            margin,
            self.window_size,
            self.window_pixels,
            traits.byte_images,
            traits.block_images,
            traits.batch_pixels,
            self.overlap,
            lambda: self._session(level, part, alone=True),
            self.rooms[part],
        )

    def path(self, level: int, alone: bool = False) -> EntropyPath:
        """The entropy path of a level, its networks as the jobs of `overlap` may use them; `alone`: those of one
        thread, which need not take turns."""

        def make() -> EntropyPath:
            bundle = self._bundle
            plan = bundle.level(level).plan
            names = ["hyper", *(f"context_g{group}" for group in range(len(plan)))]
            sessions = (self._session(level, name, alone) for name in names)
            hyper, *contexts = sessions if alone else map(self.overlap.session, sessions)
            # Last, since an engine that reads the entropy path leaves its tables at hand.
            return EntropyPath(plan, bundle.tables(level), bundle.latent_channels, hyper, contexts)

        path: EntropyPath = self._once((level, "entropy alone" if alone else "entropy"), make)
        return path

    def _session(self, level: int, part: str, alone: bool = False) -> Session:
        def make() -> Session:
            engine: Any = self._engine
            if engine is None:
                raise EngineError("this Codec is closed; open another")
            opened: Session = (engine.alone() if alone else engine).open(self._bundle, level, part)
            return opened

        session: Session = self._once((level, f"{part} alone" if alone else part), make)
        return session

    def _once(self, key: tuple[int, str], make: Callable[[], Any]) -> Any:
        """What `make` gave when it was first asked for."""
        found = self.opened.get(key)
        if found is None:
            with self._lock:
                found = self.opened.get(key)
                if found is None:
                    found = self.opened[key] = make()
        return found


def _rooms() -> dict[str, Room]:
    return {name: Room() for name in ("analysis", "latents", "synthesis")}
