#!/bin/bash
# Copy the primary the first time, then follow it. PGPASSWORD is that of the role `replica`.
set -euo pipefail

copy="$PGDATA.copy"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # Under another name until it is whole: a copy that was interrupted is begun anew.
    rm -rf "$copy"
    mkdir -p -m 0700 "$copy"
    pg_basebackup --dbname "host=db user=replica application_name=replica" --pgdata "$copy" \
        --wal-method stream --checkpoint fast --write-recovery-conf
    rm -rf "$PGDATA"
    mv "$copy" "$PGDATA"
fi
unset PGPASSWORD
exec postgres
