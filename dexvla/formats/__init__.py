"""Other people's data: one file a format behind one interface (dexvla.formats.base), in and out. No torch."""
