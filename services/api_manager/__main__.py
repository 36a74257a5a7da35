"""`python -m api_manager`."""

from api_manager.main import main

main()
