"""Edits of episodes: new files of pieces of others. No source is ever changed."""
