#!/usr/bin/env bash
# Starts Prometheus against a running shop, with the alerts of rules.yml, until it is stopped.
#
# SHOP_METRICS_ADDRESS (or PORT of the shop's own port, 8000) says where the metrics are,
# SHOP_METRICS_TOKEN is shown if it is set, PROMETHEUS_PORT (9090) is where Prometheus answers,
# EVERY (15s) how often it looks. What it stores is gone when it ends.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
target=${SHOP_METRICS_ADDRESS:-127.0.0.1:${PORT:-8000}}
port=${PROMETHEUS_PORT:-9090}

missing=0
for program in prometheus curl; do
    if ! command -v "$program" > /dev/null; then
        echo "$program is not installed: on Debian, apt install $program" >&2
        missing=1
    fi
done
[ "$missing" = 0 ] || exit 1

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The token is in a file that nobody else reads, never in a command that others can list.
umask 077
authorization=
if [ -n "${SHOP_METRICS_TOKEN:-}" ]; then
    printf '%s' "$SHOP_METRICS_TOKEN" > "$folder/token"
    printf 'header = "Authorization: Bearer %s"\n' "$SHOP_METRICS_TOKEN" > "$folder/curl"
    authorization="authorization: {credentials_file: '$folder/token'}"
fi
touch "$folder/curl"

if ! curl --fail --silent --show-error --noproxy '*' --max-time 5 --config "$folder/curl" \
    --output /dev/null "http://$target/metrics"; then
    echo "No metrics at http://$target/metrics: start the shop (make run), or say where it is by" \
        "PORT or SHOP_METRICS_ADDRESS, and SHOP_METRICS_TOKEN if it wants one." >&2
    exit 1
fi

cat > "$folder/prometheus.yml" << CONFIG
global: {scrape_interval: ${EVERY:-15s}, evaluation_interval: ${EVERY:-15s}}
rule_files: ['$here/rules.yml']
scrape_configs:
  - job_name: shop
    scrape_timeout: ${EVERY:-10s}
    static_configs: [{targets: ['$target']}]
    $authorization
CONFIG
echo "Prometheus on http://127.0.0.1:$port, which looks at http://$target/metrics" >&2
echo "Alerts: http://127.0.0.1:$port/alerts; a dashboard for Grafana: $here/dashboard.json" >&2
prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/data" \
    --web.listen-address="127.0.0.1:$port" --log.level=warn &
# Told to stop, it stops Prometheus, and what that has stored goes with the folder.
trap 'kill -TERM $! 2> /dev/null || true' INT TERM
wait $! || wait $! || true
