"""Files of the user's and of ours: inputs that are never written to, outputs written whole or not at all, the
hash of a file's content, and the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import os
import re
import secrets
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

from visualdub import locks, temporaries
from visualdub.errors import BadInput, MediaError, OutputError, VisualDubError
from visualdub.stages import Progress
from visualdub.stops import held

T = TypeVar("T")
MIB = 1 << 20
log = logging.getLogger(__name__)

# ---- inputs that are never written to ----------------------------------------------------------------------

Key = tuple[int | str, ...]  # tells one file or folder from every other


def protect(inputs: Iterable[Path | None], outputs: Iterable[Path | None]) -> None:
    """Raise `BadInput` where writing `outputs` would destroy one of `inputs`, or where two outputs are one
    file.

    An output may neither be an input, by whatever name or link, nor lie in an input folder, nor be a folder
    that an input lies in. Files and folders count by device and inode; outputs need not exist. None stands
    for an option that was not given. `outputs` has everything that is written: records beside a movie too.
    """
    read = [(path, _lineage(path)) for path in inputs if path is not None]
    written = [(path, _lineage(path)) for path in outputs if path is not None]
    for (out, out_line), (given, line) in itertools.product(written, read):
        relation = _relation(out_line, line)
        linked = relation is None and os.path.isfile(out) and os.path.isdir(given)
        if linked and out_line[0] in _keys_below(given):
            relation = "is the same file as one in"
        if relation is not None:
            raise BadInput(
                f"{out} {relation} {given}, which is read; a source is never written to, give another output"
            )
    for (first, first_line), (second, line) in itertools.combinations(written, 2):
        relation = _relation(first_line, line)
        if relation is not None:
            raise BadInput(f"{first} {relation} {second}, which is written too; expected two files")


def _relation(mine: list[Key], other: list[Key]) -> str | None:
    """How a place is related to another one, by their lineages; None where neither lies in the other."""
    if mine[0] == other[0]:
        return "is the same file as"
    if other[0] in mine:
        return "lies in"
    return "holds" if mine[0] in other else None


def _lineage(path: Path) -> list[Key]:
    """The keys of `path`, links resolved, and of every folder above it, nearest first."""
    whole = Path(os.path.realpath(path))
    keys: list[Key] = []
    for place in reversed((whole, *whole.parents)):
        keys.append(_key(place) or (*keys[-1], _folded(place.name)))
    return keys[::-1]


def _key(path: Path) -> Key | None:
    """Device and inode of `path`, its name where the file system has no inodes, None where it is missing."""
    try:
        found = os.stat(path)
    except OSError:
        return None if path.name else (str(path),)
    return (found.st_dev, found.st_ino) if found.st_ino else (_folded(str(path)),)


def _folded(name: str) -> str:
    """`name` as the file system compares it, where capitals and accents do not tell files apart."""
    if sys.platform in ("win32", "darwin"):
        return unicodedata.normalize("NFC", name).casefold()
    return name


def _keys_below(folder: Path) -> set[Key]:
    """The keys of all files below `folder`: a file there may have another name, or a link, elsewhere."""
    return {key for path in files_below(folder) if (key := _key(path)) is not None}


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below `folder`."""
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)


# ---- outputs -----------------------------------------------------------------------------------------------

TEMPORARY_SUFFIX = ".partial"
TEMPORARY_BYTES = len(".") + len(".12345678") + len(TEMPORARY_SUFFIX)  # that a temporary's name is longer
LONGEST_NAME = 255  # bytes, where the file system does not say


def require_writable(path: Path, sidecars: Sequence[str] = ()) -> None:
    """Raise `OutputError` where a file `path` could not be made, before minutes are spent on it.

    sidecars: suffixes of the files that are written beside it, named after it.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"{folder} is not a folder; {path.name} cannot be written there")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder} is read-only; {path.name} cannot be written there")
    require_short_name(path, sidecars)
    for file in (path, *(path.with_name(path.name + s) for s in sidecars)):
        if file.is_dir():
            raise OutputError(f"{file} is a folder; expected the name of a file to write")
        if file.exists() and not file.is_file():
            raise OutputError(f"{file} is a device or a pipe; expected the name of a file to write")


def require_short_name(path: Path, sidecars: Sequence[str] = ()) -> None:
    """Raise `OutputError` where the file system has no room for the name with the longest suffix that is
    added.
    """
    longest = max(("", *sidecars), key=len)
    room = _longest_name(path.absolute().parent) - TEMPORARY_BYTES - len(longest)
    length = len(os.fsencode(path.name))
    if length > room:
        beside = f" beside its {longest}" if longest else ""
        raise OutputError(f"{path}: the name has {length} bytes; expected at most {room}{beside}")


def _longest_name(folder: Path) -> int:
    """Bytes that a name in `folder` may have."""
    if sys.platform == "win32":
        return LONGEST_NAME
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except OSError:
        return LONGEST_NAME


_innermost = threading.local()  # `group`: the `Together` whose block the thread is in


class Together:
    """Context manager for files that belong together: `atomic_path` hands them over, and all get their names
    at the end of the block. Left by an exception, none does and every file that was there stays. Another
    process that ends such a block in the same folder is waited for, so that the files of two runs never mix.
    A block inside another one of the same thread hands its files over to that.

    Raises `OutputError` where one cannot get its name; what was there before all of them is put back.
    """

    def __init__(self) -> None:
        self._whole: list[tuple[Path, Path]] = []  # temporary, name
        self._outer: Together | None = None

    def add(self, temporary: Path, path: Path) -> None:
        """Take over a file that is whole."""
        self._whole.append((temporary, path))

    def __enter__(self) -> Self:
        self._outer = getattr(_innermost, "group", None)
        _innermost.group = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _innermost.group = self._outer
        if error is None and self._outer is not None:
            self._outer._whole += self._whole
            return
        try:
            if error is None and self._whole:
                with locks.alone_in(path.parent for _, path in self._whole), held():
                    self._rename_all()
        finally:
            for temporary, _ in self._whole:
                _remove(temporary)

    def _rename_all(self) -> None:
        earlier: dict[Path, Path] = {}  # second names of the files that are replaced, to put them back
        new: list[Path] = []  # files that got their name where there was none
        try:
            for temporary, path in self._whole:
                was_there = path.exists()
                earlier[path] = _beside(path)
                with contextlib.suppress(OSError):  # there is none, or the file system knows no links
                    os.link(path, earlier[path])
                _rename(temporary, path)
                new += [] if was_there else [path]
        except BaseException:
            for path, second in earlier.items():
                with contextlib.suppress(OSError):
                    second.replace(path)
            for path in new:
                _remove(path)
            raise
        finally:
            for second in earlier.values():
                _remove(second)


@contextlib.contextmanager
def atomic_path(path: Path, together: Together | None = None) -> Iterator[Path]:
    """A new, empty file beside `path` under a name of its own, which the block fills. It is synced and
    renamed to `path` where the block ends well and removed where it does not; what was there stays until
    then.

    together: takes the whole file over and renames it with others. Raises `OutputError` where it cannot be
    written.
    """
    temporary = _beside(path)
    temporaries.register(temporary)
    handed_over = False
    try:
        with _writing(path, temporary):
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)  # some writers put a file in its place that only its owner may read
            _sync(temporary)
        if together is not None:
            together.add(temporary, path)
            handed_over = True
        else:
            _rename(temporary, path)
    finally:
        if not handed_over:
            _remove(temporary)


def _beside(path: Path) -> Path:
    """A name of its own for a file that will have the name `path`, or had it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")


@contextlib.contextmanager
def _writing(path: Path, temporary: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into one line; errors of other files are left alone."""
    try:
        yield
    except VisualDubError:
        raise
    except OSError as e:
        if e.filename is not None and os.fsdecode(e.filename) != str(temporary):
            raise
        raise OutputError(f"{path} cannot be written: {e.strerror or e}") from e


def _rename(temporary: Path, path: Path) -> None:
    with _writing(path, temporary):
        temporary.replace(path)
    if os.name == "posix":  # the name itself is on the disk only once its folder is
        with contextlib.suppress(OSError):
            folder = os.open(path.absolute().parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def sync_below(folder: Path) -> None:
    """Bring every file below `folder` onto the disk. Raises `OutputError` where that fails."""
    for path in files_below(folder):
        with _writing(path, path):
            _sync(path)


def _sync(path: Path) -> None:
    with path.open("r+b") as f:
        os.fsync(f.fileno())


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    temporaries.forget(path)


def write_text(path: Path, text: str, together: Together | None = None) -> None:
    """UTF-8, whole or not at all; what is no Unicode (file names may hold it) as `\\udcNN`, as JSON has it.

    Raises `OutputError` where it cannot be written.
    """
    with atomic_path(path, together) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, values: dict[str, Any], together: Together | None = None) -> None:
    """`values` as JSON; see `write_text`."""
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n", together)


def name_or_bytes(path: Path) -> str | bytes:
    """The file for a library that takes UTF-8 names alone: its name, or its content where it has another."""
    try:
        return os.fsencode(path).decode()
    except UnicodeDecodeError:
        return path.read_bytes()


# ---- the hash of a file ------------------------------------------------------------------------------------

HASH_BLOCK = 8 * MIB
SETTLED_SECONDS = 2.0  # a file changed since could change again with the same time stamp
_hashes: dict[str, str] = {}  # of files that this process has read


def content_hash(path: Path, progress: Progress | None = None) -> str:
    """Hexadecimal BLAKE2b (128 bits) of the file's bytes; `progress` gets MiB as "hashing".

    A file is read once: its hash is kept, in the cache too, until its path, size, times or inode change.
    Raises `MediaError` where it cannot be read.
    """
    path = Path(path)
    try:
        with path.open("rb") as f:
            before = os.fstat(f.fileno())
            known = _known_hash(path, before)
            if known is not None:
                return known
            digest = _digest(f, before.st_size, progress)
            after = os.fstat(f.fileno())
    except OSError as e:
        if isinstance(e, VisualDubError):
            raise
        raise MediaError(f"{path} cannot be read: {e.strerror}; expected a readable file") from e
    settled = time.time() - after.st_mtime > SETTLED_SECONDS
    if settled and _stamp(path, before) == _stamp(path, after):
        _hashes[_stamp(path, after)] = digest
        store_entry(_hash_entry(_stamp(path, after)), lambda f: f.write(digest.encode()))
    return digest


def _digest(f: BinaryIO, size: int, progress: Progress | None) -> str:
    total, done, blake = -(-size // MIB), 0, hashlib.blake2b(digest_size=16)
    while block := f.read(HASH_BLOCK):
        blake.update(block)
        done += len(block)
        if progress is not None:
            progress.report("hashing", min(done // MIB, total) if done < size else total, total)
    return blake.hexdigest()


def _stamp(path: Path, found: os.stat_result) -> str:
    """Text that changes when the file does, without its name."""
    facts = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
    return hashlib.blake2b(os.fsencode(path.absolute()) + repr(facts).encode(), digest_size=16).hexdigest()


def _hash_entry(stamp: str) -> Path:
    return entry("hashes", stamp, "", ".hash")


def _known_hash(path: Path, found: os.stat_result) -> str | None:
    stamp = _stamp(path, found)
    if stamp not in _hashes:
        kept = read_entry(_hash_entry(stamp), lambda f: f.read().decode())
        if kept is None:
            return None
        _hashes[stamp] = kept
    return _hashes[stamp]


# ---- cache -------------------------------------------------------------------------------------------------

MAGIC = b"VDUBCAC1"  # an entry: these bytes, the BLAKE2b (128 bits) of the rest, the rest
DIGEST_BYTES = 16
LIMIT_MIB = 2048  # of all entries, where $VISUALDUB_CACHE_LIMIT does not say
STALE_SECONDS = 3600.0  # age of a temporary file whose process was killed
_NAME = re.compile(r"[0-9a-f]{32}([-_][A-Za-z0-9._-]*)?\.(npz|hash|model|engine|profile|timing)")
_LEFT_OVER = re.compile(r"\.?[0-9a-f]{32}[A-Za-z0-9._-]*\.(lock|partial)")


@dataclass(frozen=True)
class CacheEntry:
    """One file of the cache."""

    path: Path
    kind: str  # "tracks", "hashes", "compiled"
    size: int  # bytes
    used: float  # seconds since 1970, when it was last read or written


def cache_folder() -> Path:
    """`$VISUALDUB_CACHE`, else `visualdub` in the user's cache folder. Not created."""
    chosen = os.environ.get("VISUALDUB_CACHE")
    if chosen:
        return Path(chosen)
    caches = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(caches) if caches else Path.home() / ".cache") / "visualdub"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / "visualdub"


def cache_limit() -> int:
    """Bytes that all entries may have together: `$VISUALDUB_CACHE_LIMIT` in MiB, 2 GiB by default."""
    text = os.environ.get("VISUALDUB_CACHE_LIMIT", "")
    if text and not text.isdecimal():
        log.warning("VISUALDUB_CACHE_LIMIT is %r; expected a whole number of MiB", text)
    return MIB * (int(text) if text.isdecimal() else LIMIT_MIB)


def entry(kind: str, source_hash: str, detail: str, suffix: str) -> Path:
    """The path of one cached thing: a file in the folder `kind`, its name begins with `source_hash`.

    `detail` may be any text that tells variants apart (the chosen face, the model's version).
    """
    safe = re.sub(r"[^A-Za-z0-9.]+", "_", detail)[:60]
    token = hashlib.blake2b(detail.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    return cache_folder() / kind / f"{source_hash}{f'-{safe}-{token}' if detail else ''}{suffix}"


def cached(
    path: Path,
    load: Callable[[BinaryIO], T],
    make: Callable[[], T],
    save: Callable[[T, BinaryIO], object],
    progress: Progress | None = None,
) -> tuple[T, bool]:
    """What the entry `path` holds, and True; or else what `make` makes, stored there, and False.

    An entry that is damaged, or that `load` raises anything for, is made again. While another process makes
    the same entry this one waits for it (`locks.WAIT_SECONDS` at most, then it makes its own). A cache that
    cannot be written to is a warning. Errors of `make` are the caller's.
    """
    value = read_entry(path, load)
    if value is not None:
        return value, True
    with locks.alone(path, progress):
        value = read_entry(path, load)
        if value is not None:
            return value, True
        made = make()
        store_entry(path, lambda f: save(made, f))
    return made, False


def read_entry(path: Path, load: Callable[[BinaryIO], T]) -> T | None:
    """What `load` reads from the entry; None where there is none, or a damaged one, which is removed."""
    try:
        with path.open("rb") as f:
            _require_whole(f)
            value = load(f)
    except FileNotFoundError:
        return None
    except Exception as e:  # there is no telling what a reader does with a damaged file
        log.warning("%s in the cache cannot be used and is made again: %s", path, e)
        _remove(path)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the entry that was not used for longest goes first
    return value


def _require_whole(f: BinaryIO) -> None:
    """Leave `f` at the start of the content. Raises `BadInput` where a byte is not as it was written."""
    head = f.read(len(MAGIC) + DIGEST_BYTES)
    found = hashlib.blake2b(digest_size=DIGEST_BYTES)
    while block := f.read(HASH_BLOCK):
        found.update(block)
    if head != MAGIC + found.digest():
        raise BadInput("it is damaged")
    f.seek(len(head))


def store_entry(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Write what `save` writes as the entry `path`, and remove entries that were not used for longest where
    all are larger than `cache_limit`. What goes wrong is a warning.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("w+b") as f:
            f.write(MAGIC + bytes(DIGEST_BYTES))
            save(f)
            f.seek(len(MAGIC) + DIGEST_BYTES)
            found = hashlib.blake2b(digest_size=DIGEST_BYTES)
            while block := f.read(HASH_BLOCK):
                found.update(block)
            f.seek(len(MAGIC))
            f.write(found.digest())
        _evict()
    except OSError as e:
        log.warning("%s", e if isinstance(e, VisualDubError) else f"{path} cannot be stored: {e}")


def cache_entries() -> list[CacheEntry]:
    """Every entry, the one not used for longest first."""
    found = []
    for path in cache_folder().glob("*/*"):
        if _NAME.fullmatch(path.name):
            with contextlib.suppress(OSError):  # removed in between
                stat = path.stat()
                found.append(CacheEntry(path, path.parent.name, stat.st_size, stat.st_mtime))
    return sorted(found, key=lambda e: e.used)


def entries_of(source_hash: str) -> list[Path]:
    """Everything cached that came from the clip with this hash."""
    if not re.fullmatch(r"[0-9a-f]+", source_hash):
        return []
    named = [p for c in "-." for p in cache_folder().glob(f"*/{source_hash}{c}*") if p.is_file()]
    hashes = (cache_folder() / "hashes").glob("*.hash")
    return sorted({*named, *(p for p in hashes if read_entry(p, lambda f: f.read().decode()) == source_hash)})


def clear_cache() -> list[CacheEntry]:
    """Remove every entry, and nothing else that lies in the cache's folder. Returns what was removed."""
    removed = []
    for kept in cache_entries():
        with contextlib.suppress(OSError):
            kept.path.unlink()
            removed.append(kept)
    _remove_left_over()
    for folder in (*cache_folder().glob("*"), cache_folder()):
        with contextlib.suppress(OSError):  # other files lie there
            folder.rmdir()
    return removed


def _evict() -> None:
    kept = cache_entries()
    excess = sum(e.size for e in kept) - cache_limit()
    for oldest in kept:
        if excess <= 0:
            break
        _remove(oldest.path)
        excess -= oldest.size
    _remove_left_over()


def _remove_left_over() -> None:
    """Remove what killed processes left."""
    for path in cache_folder().glob("*/*"):
        if _LEFT_OVER.fullmatch(path.name):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()
