#!/bin/sh
# The password is in the environment, and PgBouncer wants a file: it lies in memory.
set -eu
umask 077
printf '"shop" "%s"\n' "$POSTGRES_PASSWORD" > /tmp/userlist.txt
exec pgbouncer /etc/shop/pgbouncer.ini
