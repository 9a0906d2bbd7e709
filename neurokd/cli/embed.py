"""`neurokd embed`: a data set as a frozen extractor sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokd.cli import console
from neurokd.cli.options import Json
from neurokd.config import read_embed_config
from neurokd.errors import UsageError


def run(
    config: Annotated[str, typer.Argument(help="A preset's name or a TOML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Override a value; `neurokd presets CONFIG` prints all keys.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A .safetensors file, else one in the cache.", metavar="FILE"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Compute the embeddings of a data set by a frozen extractor.

    The file is what `neurokd continual CONFIG --set data=FILE` learns from. In the cache, its name
    has a hash of the data, the extractor and its weights: it is computed once.
    """
    from neurokd.continual.extract import extract, kept_embeddings
    from neurokd.data.embeddings import SUFFIX, write_embeddings

    resolved = read_embed_config(config, overrides or ())
    if out is not None and out.suffix != SUFFIX:
        raise UsageError(
            "embeddings are kept in another format",
            where="--out",
            expected=f"a file that ends in {SUFFIX}",
            found=str(out),
        )
    with console.steps("embed") as tell:
        if out is None:
            file, embeddings = kept_embeddings(resolved, tell)
        else:
            embeddings = extract(resolved, tell)
            file = write_embeddings(out, embeddings)
    train, test = embeddings.train.x.shape, embeddings.test.x.shape
    if as_json:
        console.result_json(
            {
                "file": str(file),
                "data": embeddings.data,
                "extractor": embeddings.extractor,
                "weights_sha256": embeddings.weights_sha256,
                "train": list(train),
                "test": list(test),
                "sha256": embeddings.sha256(),
            }
        )
    else:
        console.result(f"{file}: {embeddings.data}, train {train}, test {test}")
        console.result(f"extractor  {embeddings.extractor}")
        console.result(f"sha256     {embeddings.sha256()}")
    return 0
