"""`python -m call_manager`."""

from call_manager.main import main

main()
