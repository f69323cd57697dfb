"""What robot hosts ask of the studio: see dexvla.live.hosting."""
