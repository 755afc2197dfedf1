"""``trunkline local``: the embedded provider alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trunkline.cli.data_directory import DataDirOption, chosen


def local(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)] = 8788,
    require_key: Annotated[
        str | None,
        typer.Option(
            envvar="TRUNKLINE_LOCAL_KEY", help="Refuse every request that does not show this key exactly once."
        ),
    ] = None,
    data_dir: DataDirOption = None,
    model: Annotated[Path | None, typer.Option(help="A GGUF file to answer with instead of the demo model.")] = None,
) -> None:
    """Serve the local models alone, as a strict OpenAI-compatible upstream for tests and probes.

    Models named test/... misbehave on demand: test/echo, test/slow-MS, test/slow-stream-MS, test/refuse-NNN,
    test/break, test/huge-MB, test/silent, test/close-NNNN.
    """
    models_home = chosen(data_dir)

    from trunkline.local.worker import run  # late: it loads every model library

    run(host=host, port=port, required_key=require_key, data_dir=models_home, language=model)
