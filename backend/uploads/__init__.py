"""Uploads of many files and folders that go on after a broken connection. See docs/decisions/uploads.md."""
