"""Branch and bound: over halved inputs, and over the splits of ReLUs and maxpool windows (beta-CROWN)."""
