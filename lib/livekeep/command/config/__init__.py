"""The subcommands that check, change and apply the configuration."""
