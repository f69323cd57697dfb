"""The version of what page, API and robot host say to each other."""

# Raised with every change that a side of another version would misunderstand. A host that announces itself over HTTP
# with another number is refused; the golden bytes (tests/data/live) change with it.
PROTOCOL = 1
