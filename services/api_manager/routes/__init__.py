"""The operations, one module per resource. They map HTTP to requests and back, and decide nothing."""
