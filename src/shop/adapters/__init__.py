"""What fulfils the ports: SQL and memory stores, intake, passwords, the system's clock and ids."""
