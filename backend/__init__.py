"""The studio's API: one folder a domain. Knows dexvla.spec and dexvla.episodes, never torch."""
