"""`neucodex-train new`: a recipe for a folder of one's own pictures, and what to expect of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from shared.bundle import Bundle
from shared.command_line import existing_path, option
from training.calibrate import least_held_out
from training.datasets.survey import survey_folder
from training.device import machine
from training.estimate import estimate_seconds
from training.own_pictures import MOST_HELD_OUT_SHARE, default_network, recipe_name, write_recipe
from training.progress import Progress, as_time
from training.recipe import Recipe


@click.command()
@click.argument("pictures", type=existing_path)
@option("--init", type=existing_path, metavar="DIR", help="The bundle to start from; the best in models/ if not given.")
@option("--name", help="Of the recipe and of the bundle that it makes; the folder's if not given.")
@option("--threads", type=click.IntRange(min=1), help="CPU threads, to say how long it will take.")
def new(pictures: Path, init: Path | None, name: str | None, threads: int | None) -> None:
    """Write a recipe for PICTURES, a folder with one subfolder for each class, on standard output.

    On standard error it says what will go wrong and how long training will take.
    """
    start = init or default_network()
    bundle = Bundle.open(start)
    with Progress("reading the pictures") as progress:
        survey = survey_folder(pictures, lambda done, total: progress.at(done, total=total))
    text, recipe = write_recipe(survey, bundle, start, name or recipe_name(pictures))
    click.echo(text, nl=False)
    for warning in (*survey.warnings(), *_own_warnings(recipe)):
        click.echo(f"warning: {warning}", err=True)
    with machine(threads=threads) as here:
        seconds = estimate_seconds(recipe, survey.pictures, survey.tested, here)
    trained = survey.pictures - survey.tested - recipe.data.held_out
    click.echo(
        f"{len(survey.classes)} classes, {survey.pictures:,} pictures: {trained:,} to train on, "
        f"{recipe.data.held_out:,} held out, {survey.tested:,} to test on; "
        f"{recipe.stages[0].epochs} epochs from {start}\n"
        f"`neucodex-train all` will take about {as_time(seconds)} on this machine as busy as it is now",
        err=True,
    )


def _own_warnings(recipe: Recipe) -> Iterator[str]:
    """What follows from what the recipe asks of so many pictures."""
    held_out, calibration = recipe.data.held_out, recipe.calibration
    least = least_held_out(calibration.budget, calibration.failure)
    if held_out < least:
        yield (
            f"{held_out} held-out pictures are too few to promise what early exit costs: at a calibration.budget of "
            f"{calibration.budget:g} it takes {least}, in a folder of {least / MOST_HELD_OUT_SHARE:,.0f} or more; "
            "with fewer, a picture stops early only where the network is fully certain"
        )
    if (Path("models") / recipe.name).exists():
        yield f"models/{recipe.name} exists and would be replaced: choose another --name"
