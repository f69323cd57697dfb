"""Simulated ALOHA: two ViperX arms on MuJoCo. Importing this package does not load MuJoCo; `connect` does."""

from dexvla.robots.aloha_sim.driver import AlohaSim

__all__ = ["AlohaSim"]
