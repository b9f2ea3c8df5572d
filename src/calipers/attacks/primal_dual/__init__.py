"""Parts of the primal-dual attacks: the two players, the runs, and the settings that put them together."""
