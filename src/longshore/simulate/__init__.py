"""Whole clusters in virtual time: the real decisions, sessions and workers, over a fake engine, a store that fails and
connections that break, all from one seed. For the tests' worlds and for the user's `longshore simulate`."""
