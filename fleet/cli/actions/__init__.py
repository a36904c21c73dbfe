"""What commands do: call `fleet.control`, ask before a change, print what came of it."""
