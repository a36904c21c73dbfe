"""
The `fleet` command: a file for each noun, with its arguments, options and help.

What a command does is in `actions`. A command imports its action when it runs, so `--help` and
shell completion wait for click alone.
"""
