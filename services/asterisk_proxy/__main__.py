"""`python -m asterisk_proxy`."""

from asterisk_proxy.main import main

main()
