"""The process in front: it owns the studio's port, carries stops and live sockets itself, bounds what strangers may ask
of us, and hands everything else to the application, a process of its own. See docs/decisions/studio.md."""
