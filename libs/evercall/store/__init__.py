"""PostgreSQL: connections, paging, migrations. One database, one schema per service."""
