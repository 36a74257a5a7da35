"""What activeflows ask for outside themselves."""
