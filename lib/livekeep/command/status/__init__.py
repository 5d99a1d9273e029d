"""The subcommands that show what the units do."""
