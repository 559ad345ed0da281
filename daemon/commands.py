"""`vdub serve`, `submit`, `jobs`, `keys` and `bridge`."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from visualdub.console import (
    Clip,
    Codec,
    ConsentIn,
    Crf,
    Face,
    Frames,
    Json,
    NoWatermark,
    draft_consent,
    err,
    follow,
    out,
    print_json,
)
from visualdub.console_edits import (
    AsDefault,
    CastIn,
    DialogueFolder,
    DialogueTrack,
    EditLanguages,
    Host,
    Policy,
    Relink,
    edit_request,
    require_fitting,
)
from visualdub.errors import BadInput
from visualdub.render.quality import DRAFT, FINAL, require_quality

if TYPE_CHECKING:
    from visualdub.wire.client import Client

ENDED = ("done", "failed", "cancelled")
REFRESH_S = 0.5

# ---- vdub serve --------------------------------------------------------------------------------------------


def serve(
    root: Annotated[
        list[Path] | None,
        typer.Option(
            "--root",
            metavar="DIR",
            help="A folder that clips, dialogue and results may lie in; several times for several. By default"
            " the current one.",
        ),
    ] = None,
    tcp: Annotated[
        str | None,
        typer.Option(
            "--tcp",
            metavar="tcp://HOST:PORT",
            help="Also serve other machines, whose keys vdub keys allow lists.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes that render.")] = 1,
    cache: Annotated[
        int, typer.Option("--cache", metavar="MIB", min=16, help="Room for finished frames.")
    ] = 4096,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Jobs that may wait.")] = 256,
    page: Annotated[
        bool, typer.Option("--page", help="Also serve a page to watch, check and correct dubs in a browser.")
    ] = False,
    page_port: Annotated[
        int | None,
        typer.Option("--page-port", metavar="N", min=1, max=65535, help="Its port; implies --page."),
    ] = None,
) -> None:
    """Run the service that renders for host applications, until Ctrl-C; started again, it goes on."""
    from dataclasses import replace

    from daemon.config import Config
    from daemon.service import Service
    from daemon.structured_log import stop, to_file

    config = Config.default(tuple(root or [Path.cwd()]))
    service = Service(replace(config, tcp=tcp, workers=workers, cache_mib=cache, queue=queue))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: service.stop())
    for endpoint in service.front.endpoints:
        err.print(f"serving at {endpoint}")
    if tcp is not None:
        from daemon.access import server_pair

        err.print(f"public key of this service: {server_pair(config.keys)['public_key']}")
    logging.getLogger("daemon").info("serving at %s", ", ".join(service.front.endpoints))
    with contextlib.ExitStack() as stack:
        stack.callback(stop, to_file(config.run / "service.log"))
        if page or page_port is not None:
            from daemon.page.server import PageProcess

            try:
                shown = stack.enter_context(PageProcess(config, service.front.endpoints[0], page_port))
            except BadInput:
                service.stop()
                service.run()  # which closes what is open already
                raise
            err.print(f"page at {shown.address}", soft_wrap=True)
        service.run()


# ---- connections -------------------------------------------------------------------------------------------

Endpoint = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="ADDRESS", help="Where the service is; this user's by default."),
]
KeyFile = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="This client's key, a file of vdub keys new.")
]
ServerKey = Annotated[
    str | None,
    typer.Option("--server-key", metavar="KEY", help="The service's public key, as vdub serve prints it."),
]


@contextlib.contextmanager
def connected(
    endpoint: str | None, key: Path | None = None, server_key: str | None = None
) -> Iterator[Client]:
    """A client of the service."""
    from visualdub.wire.client import Client

    with Client(endpoint, key=key, server_key=server_key, client="vdub") as client:
        yield client


def submit(
    clip: Clip,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="MOVIE|DIR",
            help="The dubbed movie, or a folder for a dubbed edit.",
            show_default=False,
        ),
    ],
    dialogue: Annotated[
        Path | None, typer.Option("--dialogue", metavar="WAV", help="The new dialogue of a clip.")
    ] = None,
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="NAME", help="Who speaks: a package, or its name.")
    ] = None,
    frames: Frames = None,
    face: Face = None,
    codec: Codec = None,
    crf: Crf = 16,
    no_watermark: NoWatermark = False,
    quality: Annotated[
        str,
        typer.Option(
            "--quality",
            metavar="draft|final",
            help="A draft is there soon; vdub jobs final JOB makes it good.",
        ),
    ] = FINAL,
    consent: ConsentIn = None,
    dialogue_track: DialogueTrack = None,
    dialogue_folder: DialogueFolder = None,
    cast: CastIn = None,
    lang: EditLanguages = None,
    longer: Policy = "next-shot",
    relink: Relink = None,
    host: Host = None,
    as_default: AsDefault = False,
    priority: Annotated[int, typer.Option("--priority", min=-10, max=10, help="Higher comes first.")] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Show how far it is until it ends.")] = False,
    endpoint: Endpoint = None,
    key: KeyFile = None,
    server_key: ServerKey = None,
    json: Json = False,
) -> None:
    """Give the service a clip or an edit to dub; prints the number of the job."""
    options = dict(locals())
    from visualdub.edit.reading import is_edit

    require_fitting(clip, options, submit)
    if is_edit(clip):
        with connected(endpoint, key, server_key) as client:
            asked_edit = edit_request(options).fields()
            show_job(client, client.submit_edit(priority=priority, **asked_edit), wait, json)
        return
    require_quality(quality)
    if dialogue is None or (actor is None and quality != DRAFT):
        raise BadInput(f"{clip} needs both --dialogue and --actor; a draft needs no actor")
    consented = draft_consent(clip, consent).text if actor is None else None
    asked = {
        "clip": str(clip.absolute()),
        "dialogue": str(dialogue.absolute()),
        "actor": str(Path(actor).absolute()) if actor and Path(actor).exists() else actor,
        "consent": consented,
        "output": str(output.absolute()),
        "frames": frames,
        "face": face,
        "codec": codec,
        "crf": crf,
        "watermark": not no_watermark,
    }
    with connected(endpoint, key, server_key) as client:
        show_job(client, client.submit(quality, priority, **asked), wait, json)


def show_job(client: Client, job: int, wait: bool, json: bool) -> None:
    """Print the number of a job, or follow it to its end."""
    if wait:
        follow(client, job, json)
    elif json:
        print_json({"job": job})
    else:
        out.print(f"job {job}")


# ---- vdub jobs ---------------------------------------------------------------------------------------------

jobs = typer.Typer(
    invoke_without_command=True,
    help="Show the service's jobs; watch, cancel or retry one.",
    no_args_is_help=False,
)
Job = Annotated[int, typer.Argument(metavar="JOB", help="Number of the job.", show_default=False)]


@jobs.callback()
def list_jobs(
    context: typer.Context,
    live: Annotated[bool, typer.Option("--live", help="Show the table until Ctrl-C.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="The newest so many.")] = 20,
    endpoint: Endpoint = None,
    key: KeyFile = None,
    server_key: ServerKey = None,
    json: Json = False,
) -> None:
    """The newest jobs of the service."""
    context.obj = (endpoint, key, server_key)
    if context.invoked_subcommand is not None:
        return
    with connected(endpoint, key, server_key) as client:
        if json:
            print_json({"jobs": client.jobs(limit)})
        elif live:
            with (
                contextlib.suppress(KeyboardInterrupt),
                Live(jobs_table(client.jobs(limit)), console=out) as shown,
            ):
                while True:
                    time.sleep(REFRESH_S)
                    shown.update(jobs_table(client.jobs(limit)))
        else:
            out.print(jobs_table(client.jobs(limit)))


def jobs_table(rows: list[dict[str, Any]]) -> Table:
    """Jobs, a row each."""
    table = Table("job", "state", "kind", "client", "how far", "rate", "left", "makes", box=None)
    for row in rows:
        far = (
            f"{row['stage']} {row['done']}/{row['total']}"
            if row["state"] == "running" and row["total"]
            else ""
        )
        rate = f"{row['rate']:.1f}/s" if far and row["rate"] else ""
        left_s = (row["total"] - row["done"]) / row["rate"] if rate else 0.0
        left = f"{left_s // 60:.0f}:{left_s % 60:02.0f}" if rate else ""
        draft = " draft" if row["quality"] == "draft" else ""
        said = far or row["reason"]
        name = Path(row["title"]).name
        cells = (row["state"], row["kind"] + draft, row["client"], said, rate, left, name)
        table.add_row(str(row["job"]), *map(Text, cells))  # no name of a file or client is markup
    return table


@jobs.command()
def watch(context: typer.Context, job: Job, json: Json = False) -> None:
    """Show how far a job is until it ends."""
    with connected(*context.obj) as client:
        follow(client, job, json)


def _change(context: typer.Context, job: int, what: str) -> None:
    with connected(*context.obj) as client:
        row = {"cancel": client.cancel, "retry": client.retry, "final": client.final}[what](job)
    out.print(f"job {job} is {row['state']}")


@jobs.command()
def cancel(context: typer.Context, job: Job) -> None:
    """Stop a job."""
    _change(context, job, "cancel")


@jobs.command()
def retry(context: typer.Context, job: Job) -> None:
    """Run a job again that failed, was cancelled or is paused."""
    _change(context, job, "retry")


@jobs.command()
def final(context: typer.Context, job: Job) -> None:
    """Run a drafted job again in its final quality."""
    _change(context, job, "final")


# ---- vdub keys ---------------------------------------------------------------------------------------------

keys = typer.Typer(no_args_is_help=True, help="Keys of clients on other machines.")


@keys.command()
def new(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where the key goes.")],
    server_key: ServerKey = None,
) -> None:
    """Make a key for a client, on its machine; prints the public half, for vdub keys allow."""
    from daemon.access import new_pair, write_secret

    pair = new_pair()
    write_secret(output, {**pair, **({"server_key": server_key} if server_key else {})})
    out.print(pair["public_key"], markup=False)


@keys.command()
def allow(
    name: Annotated[str, typer.Argument(help="What the client is called.", show_default=False)],
    public_key: Annotated[str, typer.Argument(help="Its public key.", show_default=False)],
) -> None:
    """Allow a client, on the service's machine; a service that runs takes it up within seconds."""
    from daemon.access import AllowList
    from daemon.config import state_folder

    AllowList(state_folder() / "keys").allow(name, public_key)
    out.print(f"{name} is allowed")


@keys.command()
def revoke(name: Annotated[str, typer.Argument(help="The client.", show_default=False)]) -> None:
    """Allow a client no longer."""
    from daemon.access import AllowList
    from daemon.config import state_folder

    AllowList(state_folder() / "keys").revoke(name)
    out.print(f"{name} is revoked")


@keys.command("list")
def list_keys(json: Json = False) -> None:
    """The clients that are allowed."""
    from daemon.access import AllowList
    from daemon.config import state_folder

    allowed = AllowList(state_folder() / "keys")
    allowed.reload()
    if json:
        print_json({"keys": allowed.names()})
        return
    table = Table("client", "public key", box=None)
    for name, public in sorted(allowed.names().items()):
        table.add_row(name, public)
    out.print(table if allowed.names() else "no client is allowed")


# ---- vdub bridge -------------------------------------------------------------------------------------------


def bridge(
    client: Annotated[str, typer.Option("--client", help="The host application.")] = "bridge",
    endpoint: Endpoint = None,
    key: KeyFile = None,
    server_key: ServerKey = None,
) -> None:
    """Requests of the service as JSON lines on standard input, replies on standard output; for plug-ins."""
    from visualdub.wire.bridge import serve_pipe
    from visualdub.wire.client import Client

    if sys.stdin.isatty():
        raise BadInput("vdub bridge is started by a plug-in, which writes requests to its standard input")
    with Client(endpoint, key=key, server_key=server_key, client=client) as connection:
        serve_pipe(connection, sys.stdin.buffer, sys.stdout.buffer)
