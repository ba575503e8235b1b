"""The SQL store: SQLAlchemy Core over SQLite and PostgreSQL."""
