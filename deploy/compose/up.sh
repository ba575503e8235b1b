#!/bin/bash
# `make docker/compose/up`, after the build: start, wait until the shop is ready, and fill it if it is new.
set -euo pipefail

COMPOSE=${COMPOSE:-docker compose}
for profile in ${PROFILES:-}; do
    COMPOSE="$COMPOSE --profile $profile"
done

# A password goes in by standard input: it is in no argument, no file and no log.
create_user() {
    local name=$1 password
    password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
    $COMPOSE exec -T web shop create-user "$name" --password-stdin "${@:2}" <<< "$password" > /dev/null
    printf '  %-10s %s\n' "$name" "$password"
}

is_ready() {
    $COMPOSE exec -T web python -c "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=2)
c.request('GET', '/health/ready'); exit(c.getresponse().status != 200)" 2> /dev/null
}

$COMPOSE up --detach

# All that is started at once may keep the machine busy: what only asks is asked again.
tries=0
until is_ready && users=$($COMPOSE exec -T web shop list-users --json < /dev/null); do
    tries=$((tries + 1))
    if [ "$tries" -gt 60 ]; then
        echo "The shop does not get ready. See what it says: make docker/compose/logs" >&2
        exit 1
    fi
    sleep 1
done

if [ "$(tr -d '[:space:]' <<< "$users")" = "[]" ]; then
    $COMPOSE exec -T web shop add-products --count 50 < /dev/null
    echo "Two users to sign in as. Their passwords are shown this once:"
    create_user customer
    create_user staff --staff
fi

echo "The shop serves at http://$($COMPOSE port web 8000)/docs/"
for profile in ${PROFILES:-}; do
    case $profile in
        scale) echo "HAProxy serves at http://$($COMPOSE port haproxy 8080)/docs/" ;;
        monitoring)
            echo "Prometheus is at http://$($COMPOSE port prometheus 9090)/, and Grafana at" \
                "http://$($COMPOSE port grafana 3000)/: admin, with the GRAFANA_PASSWORD of .env" ;;
    esac
done
