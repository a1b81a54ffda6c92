"""What an admin applies. The only Python here are the tests of it."""
