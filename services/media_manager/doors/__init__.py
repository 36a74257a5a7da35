"""Where applications come in, and where Evercall goes out to them."""
