"""A small robot as a package of its own: the template of docs/extend/robot.md, and what the tests plug in."""
