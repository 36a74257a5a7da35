"""What makes a process a service: settings, logging, metrics, health, lifecycle, errors."""
