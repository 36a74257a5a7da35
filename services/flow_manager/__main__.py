"""`python -m flow_manager`."""

from flow_manager.main import main

main()
