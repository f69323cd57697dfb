"""The process that owns a robot: control loop, latched stop, cameras. See docs/decisions/robot-host.md."""
