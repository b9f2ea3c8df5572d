"""A repair as a run: failures are found, one layer is changed, balls are proven, and before is set beside after."""
