"""`vdub cache`: what is kept of clips that were tracked, and how it is removed."""

from __future__ import annotations

import typer
from rich.table import Table

from visualdub.console import Json, out, print_json

command = typer.Typer(no_args_is_help=True, help="Show or clear what is kept of clips: tracks and hashes.")

MIB = 1 << 20


@command.command()
def show(json: Json = False) -> None:
    """How many entries the cache has, of which kind, how large they are and where they lie."""
    from visualdub.storage import cache_entries, cache_folder, cache_limit

    entries = cache_entries()
    kinds = {
        kind: {
            "entries": sum(e.kind == kind for e in entries),
            "bytes": sum(e.size for e in entries if e.kind == kind),
        }
        for kind in sorted({e.kind for e in entries})
    }
    total = sum(e.size for e in entries)
    if json:
        values = {"entries": len(entries), "bytes": total, "limit_bytes": cache_limit(), "kinds": kinds}
        print_json({"folder": str(cache_folder()), **values})
        return
    table = Table("kind", "entries", "MiB", box=None)
    for kind, figures in kinds.items():
        table.add_row(kind, str(figures["entries"]), f"{figures['bytes'] / MIB:.1f}")
    if entries:
        out.print(table)
    out.print(
        f"{cache_folder()}: {len(entries)} entries, {total / MIB:.1f} MiB of at most"
        f" {cache_limit() / MIB:.0f} ($VISUALDUB_CACHE, $VISUALDUB_CACHE_LIMIT)"
    )


@command.command()
def clear() -> None:
    """Remove every entry; clips are tracked again when they are next used. Other files there stay."""
    from visualdub.storage import cache_folder, clear_cache

    removed = clear_cache()
    out.print(
        f"{cache_folder()}: {len(removed)} entries removed, {sum(e.size for e in removed) / MIB:.1f} MiB"
    )
