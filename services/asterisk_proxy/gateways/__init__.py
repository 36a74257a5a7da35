"""What the proxy talks to: Asterisk, the keeper, the broker."""
