#!/usr/bin/env bash
# Push the image IMAGE, and write to var/image.env under which digest it can be fetched from then on.
# A registry of AWS is signed in to with whatever credentials the AWS command finds.
set -euo pipefail
docker=${DOCKER:-docker}
registry=${IMAGE%%/*}
if [[ $registry =~ ^[0-9]+\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com ]]; then
    aws ecr get-login-password --region "${BASH_REMATCH[1]}" |
        "$docker" login --username AWS --password-stdin "$registry"
fi
"$docker" push "$IMAGE"
pushed=$("$docker" image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$IMAGE" |
    grep -m 1 "^${IMAGE%:*}@sha256:")
mkdir -p var
printf 'image=%s\ndigest=%s\n' "$pushed" "${pushed#*@}" > var/image.env
echo "Pushed $pushed"
