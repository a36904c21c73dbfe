"""Who calls: starts runs, follows them and hears their ends."""
