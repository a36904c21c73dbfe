"""Resources of steps: what `Annotated[T, Resource(...)]` says, and how it is checked."""
