"""Problems, sets, specifications, results, records: the words every room speaks."""
