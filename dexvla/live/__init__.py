"""What page, API and robot host say to each other: messages, status, version. Pydantic alone."""
