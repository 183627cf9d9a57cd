"""`carryline serve`."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import click

from carryline.cli import options
from carryline.errors import need
from carryline.serving.settings import Limits, Settings, named

USUAL = Limits()


@click.command("serve", short_help="Serve models over HTTP, with a page.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 is a free one, which is said.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that answer; each reads the models.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="Where the bearer token stands that requests must show; else it is the variable "
    "CARRYLINE_TOKEN, if there is one.",
)
@click.option(
    "--insecure", is_flag=True, help="Listen on other addresses than this machine's without token."
)
@click.option(
    "--reload", is_flag=True, help="Allow requests to read a model's folder again (needs a token)."
)
@click.option(
    "--max-body",
    type=click.IntRange(min=1),
    default=USUAL.body,
    show_default=True,
    metavar="BYTES",
    help="Of a request.",
)
@click.option(
    "--max-texts",
    type=click.IntRange(min=1),
    default=USUAL.texts,
    show_default=True,
    metavar="N",
    help="Of a request.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=USUAL.tokens,
    show_default=True,
    metavar="N",
    help="Of a text.",
)
@click.option(
    "--max-wait",
    type=click.FloatRange(min=0.001),
    default=USUAL.wait,
    show_default=True,
    metavar="SECONDS",
    help="That a request may have to wait; more are refused at once, with Retry-After.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.001),
    default=USUAL.timeout,
    show_default=True,
    metavar="SECONDS",
    help="Until a request is given up.",
)
@click.option("--quiet", is_flag=True, help="Write no line for each request.")
@click.option("--log-texts", is_flag=True, help="Write the texts into the log, too.")
@options.threads
def command(
    models: tuple[str, ...],
    host: str,
    port: int,
    workers: int,
    token_file: str | None,
    insecure: bool,
    reload: bool,
    max_body: int,
    max_texts: int,
    max_tokens: int,
    max_wait: float,
    timeout: float,
    quiet: bool,
    log_texts: bool,
    threads: int | None,
) -> None:
    """Answer requests by each MODEL, a folder or NAME=FOLDER, until Ctrl-C: POST /v1/predict and
    others, described at /docs, and a page at / to type texts into (needs the extra serve).

    An answer does not depend on what is asked at the same time, to the bit. See docs/serving.md.

    \b
      carryline serve model
      carryline serve reviews=model-a topics=model-b --port 8080
    """
    for package in ("starlette", "uvicorn", "httptools", "prometheus_client"):
        need(package, "serve", "carryline serve")
    from carryline.serving.run import bound, serve

    limits = Limits(max_body, max_texts, max_tokens, max_wait, timeout)
    settings = Settings(named(models), limits, threads, reload, log_texts, quiet, token_file)
    token = settings.token()
    _check_safety(token, host, insecure, reload)
    if token is None and not insecure:
        settings = replace(settings, hosts=("localhost", "127.0.0.1", "::1", host.lower()))
    listener = bound(host, port)
    where = f"[{host}]" if ":" in host else host
    address = f"http://{where}:{listener.getsockname()[1]}"
    names = ", ".join(name for name, _ in settings.models)

    def ready() -> None:
        click.echo(f"serving {names} at {address} (Ctrl-C stops)", err=True)

    with listener:
        serve(settings, listener, workers, ready)


def _check_safety(token: str | None, host: str, insecure: bool, reload: bool) -> None:
    if token is None and not insecure and not _is_loopback(host):
        raise click.UsageError(
            f"--host {host} is open to others: set CARRYLINE_TOKEN or --token-file, or say "
            "--insecure"
        )
    if reload and token is None:
        raise click.UsageError("--reload needs a token: set CARRYLINE_TOKEN or --token-file")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
