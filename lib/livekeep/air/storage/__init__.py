"""The media of a channel: a folder, or a bucket behind livekeep-storage."""
