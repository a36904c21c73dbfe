"""A command with commands below it, which names the nearest one if you mistype it."""

import difflib

import click


class Group(click.Group):
    """For `@click.group(cls=Group)`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; raise UsageError with a way out if there is none of that name."""
        known = self.list_commands(ctx)
        if args[0] not in known and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], known, n=1)
            way_out = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            ctx.fail(f"No such command {args[0]!r}; {way_out}")
        return super().resolve_command(ctx, args)
