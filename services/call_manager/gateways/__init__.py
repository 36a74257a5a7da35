"""What calls reach beyond their own process: routes, the farm, customers' files, speech.

Each class that ends in `Port` answers what a call asks of one of the ports in `domain.ports`.
"""
