"""`python -m route_manager`."""

from route_manager.main import main

main()
