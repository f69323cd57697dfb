from tests.support.places import dialect, new_database, old, place, server_url

__all__ = ["dialect", "new_database", "old", "place", "server_url"]
