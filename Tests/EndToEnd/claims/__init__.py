"""End-to-end tests that need no oracle; each function named test_* is one claim."""
