"""The commands of `dexvla`, a module a subject; dexvla.cli registers them. Heavy rooms are imported inside."""
