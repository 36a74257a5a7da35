"""The pure half: what frames mean, and what becomes of them on the bus."""
